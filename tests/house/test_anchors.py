"""Links of the documents lead somewhere on a public host, where `#a-title` follows from the words of the title."""

import re
from collections import Counter

from conftest import REPOSITORY, needs_repository

pytestmark = needs_repository

FENCED = re.compile(r"^(```+).*?^\1`*[ ]*$", re.MULTILINE | re.DOTALL)


def documents():
    yield from (REPOSITORY / name for name in ("README.md", "CHANGELOG.md"))
    yield from sorted((REPOSITORY / ".github").glob("*.md"))
    yield from sorted((REPOSITORY / "docs").rglob("*.md"))


def anchors_of(text):
    """Return the anchors of titles: lower case, no punctuation, hyphens for spaces; `-1` if one is there already."""
    times = Counter()
    anchors = set()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", FENCED.sub("", text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)  # of a link its words
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
        times[anchor] += 1
    return anchors


def dead_links_of(document):
    """Return the links of a document to files and titles that are not there."""
    text = FENCED.sub("", document.read_text())
    dead = []
    for link in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text())):
            dead.append(link)
    return dead


def test_anchors_are_those_of_a_public_host():
    text = """# Exit codes: 0, 1 (and 2)
## metrics.json
## `--head` and *why*
```sh
# a comment
```
## [A link](files.md)
## Same
### Same
## Größe_2
"""
    assert anchors_of(text) == {
        *("exit-codes-0-1-and-2", "metricsjson", "--head-and-why", "a-link"),
        *("same", "same-1", "größe_2"),
    }


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[1](#a-title) [2](#no-title) [3](page.md#a-title) [4](other.md)\n")
    assert dead_links_of(page) == ["#no-title", "other.md"]


def test_every_link_and_anchor_of_the_documents_is_there():
    dead = {path.relative_to(REPOSITORY).as_posix(): dead_links_of(path) for path in documents()}
    assert len(dead) > 40
    assert {path: links for path, links in dead.items() if links} == {}


def test_pages_that_messages_and_docstrings_name_are_there():
    named = set()
    for folder in REPOSITORY.glob("[!.]*/"):
        if folder.name not in ("build", "dist", "docs"):
            for path in [*folder.rglob("*.py"), *folder.glob("**/templates/*")]:
                named |= set(re.findall(r"docs/[\w-]+\.md", path.read_text()))
    assert len(named) > 10
    assert [page for page in sorted(named) if not (REPOSITORY / page).is_file()] == []
