"""Folders and tables of one's own on the whole road; see `whole_road.py` in tests/plugins."""

import pytest
from whole_road import OWN, travel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", OWN)
def test_the_whole_road(name, tmp_path, request, cli, monkeypatch):
    travel(OWN[name], tmp_path, request, cli, monkeypatch)
