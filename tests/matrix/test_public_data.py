"""Published data sets on the whole road; see `whole_road.py` in tests/plugins."""

import pytest
from whole_road import PUBLIC, travel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PUBLIC)
def test_the_whole_road(name, tmp_path, request, cli, monkeypatch):
    travel(PUBLIC[name], tmp_path, request, cli, monkeypatch)
