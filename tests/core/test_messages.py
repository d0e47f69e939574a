"""Messages for a reader who lacks some parameters, and those that are passed on."""

from bchisto.core import InputError, Message, Names, Writer, limited, public, written


def in_capitals(name, value):
    return name.upper() + value


def test_a_writer_leaves_out_remedies_that_its_reader_cannot_follow():
    remedies = [Message("use fewer {views}"), Message("set {mode:dense}"), "leave it out"]
    message = Message("{}: too large for {mode}", "a.png", remedies=remedies)
    writer = Writer(in_capitals, lacks=lambda name: name == "mode")
    assert message.written(writer) == "a.png: too large for MODE; use fewer VIEWS, or leave it out"
    assert message.written(in_capitals) == (
        "a.png: too large for MODE; use fewer VIEWS, or set MODEdense, or leave it out"
    )


def test_a_writer_reaches_messages_inside_a_message():
    inner = Message("{} is small", "a.png", remedies=[Message("use {scale}")])
    outer = Message("{jobs}: {}", InputError("{}", inner))
    assert written(outer, Writer(in_capitals, lacks=lambda name: True)) == "JOBS: a.png is small"
    assert written("a text", in_capitals) == "a text"


def test_a_message_inside_another_is_limited_and_passed_on_like_it():
    inner = Message("{views} left out{}", Names(" (a.png)"))
    outer = Message("{}; see {out}", inner)
    assert limited(outer, {"out"}) == "this model's views left out (a.png); see `out`"
    assert public(outer) == "`views` left out; see `out`"
