"""Folders and tables of one's own, and published data sets, on the whole road; see `whole_road.py` in tests/plugins."""

import pytest
from whole_road import OWN, PUBLIC, travel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", [*OWN.values(), *PUBLIC.values()], ids=[*OWN, *PUBLIC])
def test_the_whole_road(case, tmp_path, request, completed, monkeypatch):
    travel(case, tmp_path, request, completed, monkeypatch)
