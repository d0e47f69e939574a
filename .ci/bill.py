"""Write the bill of materials of a wheel beside it: CycloneDX, from tools/requirements.lock and tools/licences.csv."""

import csv
import hashlib
import re
import sys
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parents[1]


def component(name: str, version: str, digest: str, licence: str, needed_by: str) -> Component:
    """Return one package; what only tests, documents and lint need is excluded from what is run."""
    scope = ComponentScope.REQUIRED if needed_by == "bchisto" else ComponentScope.OPTIONAL
    if needed_by in ("bchisto[test]", "bchisto[docs]", "bchisto[lint]"):
        scope = ComponentScope.EXCLUDED
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        scope=scope,
        purl=PackageURL("pypi", None, name, version),
        bom_ref=f"{name}=={version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=[DisjunctiveLicense(name=licence)],
    )


def main(wheel: str) -> None:
    """Write ``<wheel>.cdx.json``."""
    path = Path(wheel)
    version = path.name.split("-")[1]
    with (ROOT / "tools" / "licences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    licences = {
        re.sub(r"[-_.]+", "-", name).lower(): (licence, by) for name, _, licence, by in rows
    }
    bom = Bom()
    bom.metadata.component = root = Component(
        type=ComponentType.APPLICATION,
        name="bchisto",
        version=version,
        bom_ref=f"bchisto=={version}",
        supplier=OrganizationalEntity(name="The bchisto developers"),
        purl=PackageURL("pypi", None, "bchisto", version),
        hashes=[
            HashType(
                alg=HashAlgorithm.SHA_256, content=hashlib.sha256(path.read_bytes()).hexdigest()
            )
        ],
        licenses=[DisjunctiveLicense(id="Apache-2.0")],
    )
    lines = re.findall(
        r"^(\S+)==(\S+) --hash=sha256:(\w+)$",
        (ROOT / "tools/requirements.lock").read_text(),
        re.MULTILINE,
    )
    for name, number, digest in lines:
        one = component(name, number, digest, *licences[name])
        bom.components.add(one)
        if one.scope is ComponentScope.REQUIRED:
            bom.register_dependency(root, [one])
    out = path.with_suffix(".cdx.json")
    make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(
        str(out), allow_overwrite=True, indent=2
    )
    sys.stdout.write(f"bill of materials: {len(lines)} packages in {out.name}\n")


if __name__ == "__main__":
    main(sys.argv[1])
