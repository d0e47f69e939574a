import pytest
from bchisto.core import InputError
from bchisto.core.jobs import Shard


@pytest.mark.parametrize("count", [1, 3, 7, 16])
def test_shards_cover_everything_once(count):
    units = list(range(40))
    shares = [Shard(k, count).select(units) for k in range(1, count + 1)]
    assert sorted(unit for share in shares for unit in share) == units
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "1/0", "-1/4"])
def test_refuses_anything_else(text):
    with pytest.raises(InputError, match="`shard`"):
        Shard.parse(text)
