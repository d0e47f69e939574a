"""docs/files.md names the files, columns and keys that bchisto writes."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
from bchisto.core.jobs import Work
from bchisto.evaluate import TwoClassView, evaluate
from bchisto.predict import predict
from bchisto.predict.table import Outliers
from written_tables import read_json, rows_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "files.md"


def section(title):
    """Return the text of a section of the page."""
    rest = PAGE.read_text().partition(f"## {title}\n")[2]
    return re.split(r"^## ", rest, flags=re.MULTILINE)[0]


def names_in(text):
    """Return the names in code type."""
    return set(re.findall(r"`([^`]+)`", text))


def test_the_columns_of_a_feature_file(boosted):
    (store,) = (boosted / "features").glob("*.h5")
    names = set()

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            names.add(name)

    with h5py.File(store) as file:
        file.visititems(add)
    rows = [row for row in section("Feature file").splitlines() if row.startswith("| `")]
    first_cells = [row.split("|")[1] for row in rows]
    assert names_in("".join(first_cells)) == names


def test_the_files_of_a_run_folder(boosted):
    (tree,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    written = {
        path.name
        for path in boosted.rglob("*.*")
        if path.is_file() and path.parent.name != "records"
    }
    models = {path.name for path in boosted.glob("boost/*/models/*/*")}
    assert {name for name in written if name not in tree} == {"tiny-1.0-64.h5", *models}


def keys_in(value):
    """Yield the keys of metrics, without the names of tables and classes that are keys, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield re.sub(r"(?<!trained)_(per_fold|mean|std)$", "", key)
            yield from keys_in(list(item.values()) if key in ("tables", "per_class") else item)
    elif isinstance(value, list):
        for item in value:
            yield from keys_in(item)


def test_the_keys_of_metrics(tmp_path, boosted_result):
    tables = [tmp_path / f"{name}.csv" for name in ("first", "second", "external")]
    for table in tables:
        shutil.copy(boosted_result / "predictions.csv", table)
    view = TwoClassView("malignant", sensitivities=0.9)
    result = evaluate(
        tables[:2], out=tmp_path / "e", against=tables[2:], view=view, bootstrap=0
    ).result
    trained = read_json(boosted_result / "metrics.json")
    result["tables"] |= trained["tables"]
    assert set(keys_in(result)) <= names_in(section("metrics.json"))


def test_the_columns_of_a_prediction(boosted_model, tissue, tmp_path):
    predict(boosted_model, tissue, out=tmp_path / "p.csv", work=Work(jobs=1))
    columns = {re.sub(r"^p_\w+", "p_<class>...", name) for name in rows_of(tmp_path / "p.csv")[0]}
    # a patient of these images trained only if the run names patients
    optional = {
        "note",
        "blank",
        "group_trained",
        "warnings",
        *(name for name, _ in Outliers(np.zeros(0), ()).columns),
    }
    assert columns | optional == names_in(section("Predictions")) - {"predict"}
