"""An entry point of another package that does not hold is named when it is asked for, and stops nobody else."""

import pytest
from bchisto.boost import get_head, list_heads
from bchisto.core import InputError
from bchisto.data import get_layout, list_layouts
from bchisto.encoders import get_spec, list_encoders
from bchisto.finetune import get_network, list_networks
from bchisto.stains import get_stain, list_stains
from offers import offer

KINDS = {
    "heads": (
        "head",
        "boost",
        "HeadSpec",
        "'other', '.x', None, None",
        get_head,
        list_heads,
        "svm",
    ),
    "encoders": (
        "encoder",
        "encoders",
        "EncoderSpec",
        "'other', print, print",
        get_spec,
        list_encoders,
        "resnet50",
    ),
    "networks": (
        "network",
        "finetune",
        "NetworkSpec",
        "'other', print, 99",
        get_network,
        list_networks,
        "alexnet",
    ),
    "datasets": (
        "layout",
        "data",
        "LayoutSpec",
        "name='other', read=print",
        get_layout,
        list_layouts,
        "bach",
    ),
    "stains": (
        "stain method",
        "stains",
        "StainSpec",
        "'other', print",
        get_stain,
        list_stains,
        "macenko",
    ),
}
"""Group of entry points to: its word, room, class, one of another name, how it is got and listed, one of ours."""

MISTAKES = {
    "absent": "its entry point cannot be loaded .*report this to its package, theirs",
    "lost": "its entry point cannot be loaded .*none_of_it.*report this to its package, theirs",
    "odd": "its entry point gives no {spec}; report this to its package, theirs",
    "crossed": "its entry point gives one called other; report this to its package, theirs",
    "twice": r"several packages offer it \(.*\); uninstall all but one",
}


@pytest.mark.parametrize("group", KINDS)
def test_what_does_not_hold_is_named(group, tmp_path, monkeypatch):
    kind, room, spec, other, get, names, ours = KINDS[group]
    package, more = f"theirs_{group}", f"more_{group}"
    places = {
        "absent": "gone_module:x",
        "lost": f"{package}:none_of_it",
        "odd": f"{package}:odd",
        "crossed": f"{package}:crossed",
        "twice": f"{package}:odd",
    }
    code = f"from bchisto.{room} import {spec}\nodd = lambda: 4\ncrossed = {spec}({other})\n"
    offer(tmp_path, group, package, code, **places)
    offer(tmp_path, group, more, "odd = 4\n", Twice=f"{more}:odd")
    monkeypatch.syspath_prepend(tmp_path)
    for name, message in MISTAKES.items():
        with pytest.raises(InputError, match=f"{kind} {name}: {message.format(spec=spec)}"):
            get(name)
    assert set(MISTAKES) | {ours} <= set(names())
    assert get(ours).name == ours  # the others go on
