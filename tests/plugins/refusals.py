"""What a function refuses, as the user reads it."""

import contextlib

import pytest
from bchisto.core import InputError


@contextlib.contextmanager
def refusing(words, kind=InputError):
    """Expect a refusal: an error of this kind, of one line that matches `words`."""
    with pytest.raises(kind, match=words) as refusal:
        yield refusal
    assert "\n" not in str(refusal.value)


def refuses(kind, words, call, /, *arguments, **options):
    """Check that a call is refused so."""
    with refusing(words, kind):
        call(*arguments, **options)
