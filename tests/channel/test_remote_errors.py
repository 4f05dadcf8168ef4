"""Errors on the wire: what there is to know arrives, and what a peer distorts does no harm."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorsys.channel import pack_error, unpack_error
from actorsys.channel.remote_errors import pack_cancelled
from actorsys.errors import (
    ActorDied,
    ActorsysError,
    ContextCancelled,
    EncodeError,
    LimitExceeded,
    NotExposed,
    RemoteActorError,
)
from actorsys.limits import Limits
from actorsys.wire import TYPES, Codec, cut, register_error

LIMITS = Limits()
ORIGIN, RELAY, HERE = ("origin", "o-1"), ("relay", "r-1"), ("here", "h-1")


def measure(value: Any) -> int | None:
    for _ in range(2 * LIMITS.max_error_depth):
        value = [value]
    try:
        return sum(map(len, Codec().encode({"return": value}, LIMITS.stream_window_bytes)))
    except (EncodeError, LimitExceeded):
        return None


def over_the_wire(fields: dict[str, Any]) -> dict[Any, Any]:
    """Return what arrives of the map of an error; it must be possible to send it."""
    codec = Codec()
    frame = b"".join(map(bytes, codec.encode({"error": fields, "cid": "1"}, 2**31)))
    raw, fault = codec.decode(frame[4:])
    assert fault is None
    return raw["error"]  # type: ignore[no-any-return]


def packed(error: BaseException, uid: tuple[str, str] = ORIGIN, limits: Limits = LIMITS) -> Any:
    return pack_error(error, uid, limits, measure)


def sent(error: BaseException, limits: Limits = LIMITS) -> Any:
    """Return what the caller gets of *error*."""
    return unpack_error(over_the_wire(packed(error, limits=limits)), limits)


def raised(error: BaseException) -> BaseException:
    """Return *error* with a traceback, as if it had left a function."""
    try:
        raise error
    except BaseException as caught:
        return caught


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class Custom(Exception):
    """An error that only the test may register."""


@pytest.fixture
def registered() -> Iterator[Any]:
    """Return `register_error`; what is registered with it is forgotten afterwards."""
    before = dict(TYPES.errors)
    yield register_error
    TYPES.errors.clear()
    TYPES.errors.update(before)


# --- what arrives ----------------------------------------------------------------------------


def test_the_message_the_class_and_the_origin_arrive() -> None:
    error = sent(raised(ValueError("no good")))
    assert isinstance(error, RemoteActorError)
    assert isinstance(error, ValueError)
    assert (str(error), error.type_str, error.src_uid) == ("no good", "ValueError", ORIGIN)
    assert error.relay_path == (ORIGIN,)


def test_the_traceback_shows_the_line_that_failed() -> None:
    error = sent(raised(ValueError("no good")))
    assert "in raised" in error.tb_str
    assert "raise error" in error.tb_str
    assert "raised in actor 'origin' (path: origin)" in shown(error)
    assert "in raised" in shown(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("a", 2, (3,), {"k": {4}}),
        KeyError("missing"),
        KeyError(("a", 1)),
        IndexError("x"),
        ZeroDivisionError("division by zero"),
        OSError(2, "No such file", "/tmp/x"),
        FileNotFoundError(2, "No such file", "/tmp/x"),
        ConnectionRefusedError(111, "refused"),
        OSError("only text"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        UnicodeEncodeError("ascii", "\xff", 0, 1, "out of range"),
        SyntaxError("bad", ("file.py", 3, 5, "x = = 1")),
        ImportError("no module", name="x"),
        AttributeError("no attribute"),
        RecursionError("too deep"),
        MemoryError(),
        TimeoutError("late"),
        AssertionError([1, 2]),
        NotImplementedError("later"),
    ],
    ids=lambda error: f"{type(error).__name__}-{len(error.args)}",
)
def test_a_builtin_error_can_be_caught_as_itself(error: Exception) -> None:
    arrived = sent(raised(error))
    assert isinstance(arrived, type(error))
    assert isinstance(arrived, RemoteActorError)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    assert shown(arrived)


def test_an_os_error_keeps_its_fields() -> None:
    error = sent(FileNotFoundError(2, "No such file", "/tmp/x"))
    assert (error.errno, error.strerror, error.filename) == (2, "No such file", "/tmp/x")


def test_a_unicode_error_keeps_its_fields() -> None:
    error = sent(UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "invalid start byte"))
    assert (error.encoding, error.object, error.start) == ("utf-8", b"ab\xff", 2)


@pytest.mark.parametrize(
    "error",
    [StopIteration(1), StopAsyncIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_what_means_something_to_python_itself_is_only_named(error: BaseException) -> None:
    arrived = sent(error)
    assert type(arrived).__mro__[1] is RemoteActorError
    assert not isinstance(arrived, type(error))
    assert isinstance(arrived, Exception)
    assert arrived.type_str == type(error).__name__


def test_an_unknown_class_is_only_named() -> None:
    error = sent(raised(Custom("x", 1)))
    assert not isinstance(error, Custom)
    assert error.type_str.endswith("test_remote_errors:Custom")
    assert error.args == ("x", 1)


def test_our_own_errors_arrive_as_themselves() -> None:
    error = sent(ActorDied("gone", exit_code=3, stderr_tail="tail", may_have_run=False))
    assert isinstance(error, ActorDied)
    assert (error.exit_code, error.stderr_tail, error.may_have_run) == (3, "tail", False)
    assert isinstance(sent(NotExposed("x")), NotExposed)


def test_arguments_that_cannot_travel_leave_the_message() -> None:
    error = sent(ValueError("look:", object()))
    assert isinstance(error, ValueError)
    assert "look:" in str(error)
    assert "<object object at" in str(error)


def test_attributes_arrive_unless_they_cannot_travel_or_are_private() -> None:
    error = ValueError("x")
    error.code, error._secret = 7, 8  # type: ignore[attr-defined]
    assert sent(error).code == 7
    assert not hasattr(sent(error), "_secret")
    error.lock = object()  # type: ignore[attr-defined]
    assert isinstance(sent(error), ValueError)


def test_notes_arrive_and_are_shown() -> None:
    error = ValueError("x")
    error.add_note("first note")
    error.add_note("second note")
    arrived = sent(error)
    assert arrived.notes == ("first note", "second note")
    assert "first note" in shown(arrived)


def test_each_class_is_made_once() -> None:
    assert type(sent(ValueError("a"))) is type(sent(ValueError("b")))


# --- relatives -------------------------------------------------------------------------------


def test_a_cause_arrives() -> None:
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    arrived = sent(error)
    assert isinstance(arrived.__cause__, KeyError)
    assert arrived.__cause__.args == ("inner",)


def a_context() -> BaseException:
    try:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer")
    except ValueError as error:
        return error


def test_a_context_arrives() -> None:
    arrived = sent(a_context())
    assert isinstance(arrived.__context__, KeyError)
    assert arrived.__cause__ is None


def test_a_context_is_shown_and_survives_a_relay() -> None:
    arrived = sent(a_context())
    assert not arrived.__suppress_context__
    assert isinstance(sent(arrived).__context__, KeyError)


def test_a_context_that_was_suppressed_stays_so() -> None:
    error = a_context()
    error.__suppress_context__ = True
    assert sent(error).__context__ is None


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    arrived = sent(first)
    assert isinstance(arrived.__cause__, KeyError)
    assert arrived.__cause__.__cause__ is None


def test_a_group_arrives_with_its_members() -> None:
    arrived = sent(ExceptionGroup("two", [ValueError("a"), KeyError("b")]))
    assert isinstance(arrived, ExceptionGroup)
    assert isinstance(arrived, RemoteActorError)
    assert isinstance(arrived.exceptions[0], ValueError)
    assert isinstance(arrived.exceptions[1], KeyError)
    assert str(arrived) == "two"


def test_a_group_can_be_taken_apart() -> None:
    group = ExceptionGroup("out", [ExceptionGroup("in", [ValueError("a")]), KeyError("b")])
    caught: list[str] = []
    try:
        raise sent(group)
    except* ValueError as values:
        caught += [str(e) for inner in values.exceptions for e in inner.exceptions]
    except* KeyError as keys:
        caught += [type(e).__name__ for e in keys.exceptions]
    assert caught == ["a", "RemoteActorError[KeyError]"]


def test_a_group_of_base_exceptions_arrives_as_errors() -> None:
    arrived = sent(BaseExceptionGroup("stop", [SystemExit(1), ValueError("x")]))
    assert isinstance(arrived, ExceptionGroup)
    assert [e.type_str for e in arrived.exceptions] == ["SystemExit", "ValueError"]  # type: ignore[attr-defined]


def test_wide_and_deep_errors_are_pruned() -> None:
    wide = ExceptionGroup("wide", [ValueError(str(i)) for i in range(1000)])
    assert 1 < len(sent(wide).exceptions) <= LIMITS.max_error_nodes
    deep: Exception = ValueError("bottom")
    for _ in range(100):
        deep = ExceptionGroup("deep", [deep])
    assert sent(deep).type_str == "ExceptionGroup"
    chain = ValueError("0")
    for i in range(1000):
        following = ValueError(str(i))
        following.__cause__ = chain
        chain = following
    assert sent(chain).type_str == "ValueError"


def test_the_same_error_twice_in_a_group_does_no_harm() -> None:
    error = ValueError("x")
    assert isinstance(sent(ExceptionGroup("twins", [error, error])), ExceptionGroup)


# --- relays ----------------------------------------------------------------------------------


def test_a_relayed_error_keeps_its_origin_and_names_who_relayed_it() -> None:
    first = raised(sent(raised(ValueError("x"))))
    second = unpack_error(over_the_wire(packed(first, RELAY)), LIMITS)
    third = unpack_error(over_the_wire(packed(raised(second), HERE)), LIMITS)
    assert isinstance(third, ValueError)
    assert isinstance(third, RemoteActorError)
    assert third.src_uid == ORIGIN
    assert third.relay_path == (ORIGIN, RELAY, HERE)
    assert third.type_str == "ValueError"
    assert third.tb_str.count("Relayed by actor") == 2
    assert "path: origin -> relay -> here" in shown(third)


def test_a_relay_does_not_double_notes() -> None:
    error = ValueError("x")
    error.add_note("a note")
    second = unpack_error(over_the_wire(packed(sent(error), RELAY)), LIMITS)
    assert isinstance(second, RemoteActorError)
    assert second.notes == ("a note",)


def test_a_note_that_a_relay_adds_is_kept() -> None:
    first = sent(ValueError("x"))
    first.add_note("while relaying")
    second = unpack_error(over_the_wire(packed(first, RELAY)), LIMITS)
    assert "while relaying" in shown(second)


def test_a_cancelled_call_names_who_cancelled_it() -> None:
    fields = pack_cancelled(RELAY, "enough", ORIGIN, LIMITS, measure)
    error = unpack_error(over_the_wire(fields), LIMITS)
    assert type(error) is ContextCancelled
    assert (str(error), error.canceller) == ("enough", RELAY)


# --- registered classes ----------------------------------------------------------------------


def test_a_registered_class_arrives_as_itself(registered: Any) -> None:
    @registered
    class Known(Exception):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(f"{code}: {reason}")
            self.code = code

    error = sent(raised(Known(5, "why")))
    assert isinstance(error, Known)
    assert (error.code, str(error), error.args) == (5, "5: why", ("5: why",))


def test_the_init_of_a_registered_class_does_not_run(registered: Any) -> None:
    runs: list[int] = []

    @registered
    class Counting(Exception):
        def __init__(self) -> None:
            runs.append(1)

    assert isinstance(sent(Counting()), Counting)
    assert runs == [1]


def test_a_default_of_the_class_is_overridden_by_what_arrives(registered: Any) -> None:
    @registered
    class WithDefault(Exception):
        code = 0

    error = WithDefault("x")
    error.code = 5
    assert sent(error).code == 5


def test_a_class_with_a_demanding_new_does_not_break_its_error(registered: Any) -> None:
    @registered
    class Demanding(Exception):
        def __new__(cls, first: int, second: int) -> Any:
            return super().__new__(cls, first, second)

        def __init__(self, first: int, second: int) -> None:
            super().__init__(f"{first}/{second}")

    error = sent(Demanding(1, 2))
    assert isinstance(error, RemoteActorError)
    assert str(error) == "1/2"


def test_a_frozen_dataclass_that_is_an_error_arrives_with_its_fields(registered: Any) -> None:
    @registered
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        message: str
        code: int

    error = sent(Frozen("text", 7))
    assert isinstance(error, Frozen)
    assert error.code == 7


def test_a_setter_that_raises_does_not_break_its_error(registered: Any) -> None:
    @registered
    class Picky(Exception):
        @property
        def level(self) -> int:
            return 1

        @level.setter
        def level(self, value: int) -> None:
            raise RuntimeError("no")

    fields = {**packed(Picky("x")), "state": {"level": 5}}
    assert isinstance(unpack_error(fields, LIMITS), Picky)


def test_a_registered_child_of_a_builtin_is_both(registered: Any) -> None:
    @registered
    class MyOSError(OSError):
        pass

    error = sent(MyOSError(2, "gone"))
    assert isinstance(error, MyOSError)
    assert error.errno == 2


# --- errors that are hard to send ------------------------------------------------------------


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_an_error_whose_text_cannot_be_made_arrives() -> None:
    error = sent(raised(Rude()))
    assert "str() of this error raised RuntimeError" in str(error)


@pytest.mark.parametrize("notes", [None, 5, "text", ["fine", b"not"], {"a": 1}], ids=ascii)
def test_notes_that_are_none_do_no_harm(notes: Any) -> None:
    error = ValueError("x")
    error.__notes__ = notes
    assert isinstance(sent(raised(error)), ValueError)


def test_an_error_that_cannot_be_printed_arrives() -> None:
    error = SyntaxError("bad")
    error.text, error.lineno = 5, 1  # type: ignore[assignment]
    assert "bad" in str(sent(raised(error)))


def test_arguments_near_the_depth_limit_do_no_harm() -> None:
    value: Any = 1
    for _ in range(LIMITS.max_depth - 2):
        value = [value]
    error: Exception = ValueError(value)
    for _ in range(3):
        outer = ValueError("outer")
        outer.__cause__ = error
        error = outer
    assert isinstance(sent(error), ValueError)


def test_many_large_arguments_do_not_add_up() -> None:
    limits = Limits(max_message_bytes=2**20)
    large = b"x" * (limits.stream_window_bytes - 100)
    fields = packed(ExceptionGroup("large", [ValueError(large) for _ in range(10)]), limits=limits)
    assert Codec().encode({"error": fields, "cid": "1"}, limits.max_message_bytes)


def test_lone_surrogates_do_no_harm() -> None:
    error = ValueError("\ud800")
    error.add_note("\udfff")
    assert "d800" in str(sent(error))


# --- cutting and escaping --------------------------------------------------------------------


def test_text_is_cut_in_its_middle() -> None:
    text = cut("start" + "x" * 100_000 + "end", 1000)
    assert len(text) <= 1000
    assert text.startswith("start")
    assert text.endswith("end")
    assert "... cut ..." in text


@pytest.mark.parametrize("text", ["", "short", "two\nlines\tand a tab", "\u00e9\u4e2d"])
def test_harmless_text_is_left_as_it_is(text: str) -> None:
    assert cut(text, 100) == text


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x00", "\r", "\x7f", "\x9b", "\u202e", "\u200b", "\ud800", "\x08"]
)
def test_control_characters_are_escaped(text: str) -> None:
    escaped = cut(f"a{text}b", 100)
    assert text not in escaped
    assert escaped.isprintable()


def test_everything_that_travels_is_cut() -> None:
    error = ValueError("m" * 10**6)
    for _ in range(100):
        error.add_note("n" * 10**6)
    fields = packed(raised(error))
    assert len(fields["message"]) <= LIMITS.max_text_chars
    assert len(fields["tb_str"]) <= LIMITS.max_traceback_chars
    assert len(fields["notes"]) <= 16
    assert all(len(note) <= LIMITS.max_text_chars for note in fields["notes"])


HOSTILE_TEXT = "\x1b]0;owned\x07\x1b[2J" + "y" * 10**6


def test_everything_that_arrives_is_cut_and_escaped() -> None:
    fields = {
        "type_str": HOSTILE_TEXT,
        "message": HOSTILE_TEXT,
        "tb_str": HOSTILE_TEXT,
        "notes": [HOSTILE_TEXT] * 1000,
        "src_uid": [HOSTILE_TEXT, HOSTILE_TEXT],
        "relay_path": [[HOSTILE_TEXT, "x"]] * 1000,
    }
    error = unpack_error(fields, LIMITS)
    text = shown(error)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text) < 200_000


@pytest.mark.parametrize("type_str", ["ValueError", "KeyError", "OSError", "Nothing", ""])
@pytest.mark.parametrize("place", ["args", "state"])
def test_arguments_cannot_reach_a_terminal_unescaped(type_str: str, place: str) -> None:
    names = ["msg", "strerror", "filename", "reason", "name", "message"]
    content: Any = ["\x1b[2J"] if place == "args" else dict.fromkeys(names, "\x1b[2J")
    error = unpack_error({"type_str": type_str, "message": "", place: content}, LIMITS)
    assert "\x1b" not in str(error)
    assert "\x1b" not in shown(error)


# --- hostile fields --------------------------------------------------------------------------

WRONG: list[Any] = [None, 5, 1.5, True, "text", b"x", [], [1], [[]], {}, {"a": 1}, {1: 2}, (), {1}]
FIELDS = [
    "type_str",
    "message",
    "tb_str",
    "notes",
    "src_uid",
    "relay_path",
    "args",
    "state",
    "cause",
    "context",
    "group",
    "cancelled",
]


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_any_wrong_type_does_no_harm(name: str) -> None:
    for value in [*WRONG, [{}], [{"group": 5}], 2**100, "x" * 10_000, [None] * 1000]:
        fields = {**packed(raised(ValueError("x"))), name: value}
        error = unpack_error(fields, LIMITS)
        assert isinstance(error, (RemoteActorError, ContextCancelled))
        assert shown(error)


def test_nothing_at_all_is_still_an_error() -> None:
    error = unpack_error({}, LIMITS)
    assert isinstance(error, RemoteActorError)
    assert shown(error)


@pytest.mark.parametrize(
    "type_str",
    [
        "print",
        "BaseException",
        "SystemExit",
        "KeyboardInterrupt",
        "StopIteration",
        "ExceptionGroup",
        "object",
        "__build_class__",
        "os:error",
        "builtins:ValueError",
        "actorsys.errors:trio",
        "actorsys.errors:annotations",
        "actorsys.errors:RemoteActorError",
        "actorsys.errors:__name__",
        "trio:Cancelled",
        ":",
        "a:b:c",
        "",
    ],
)
def test_a_class_is_chosen_from_the_tables_and_nothing_else(type_str: str) -> None:
    error = unpack_error({"type_str": type_str, "message": "x"}, LIMITS)
    assert isinstance(error, RemoteActorError)
    others = {base for base in type(error).__mro__ if base not in RemoteActorError.__mro__}
    assert others == {type(error)}


@pytest.mark.parametrize("name", ["add_note", "with_traceback", "__class__", "__cause__", "args"])
def test_the_state_cannot_replace_what_every_error_has(name: str) -> None:
    error = unpack_error({"type_str": "ValueError", "state": {name: 5}}, LIMITS)
    assert isinstance(error, ValueError)
    assert name not in vars(error)


@pytest.mark.parametrize("name", ["split", "subgroup", "derive", "exceptions"])
def test_the_state_cannot_replace_the_methods_of_a_group(name: str) -> None:
    fields = {**packed(ExceptionGroup("x", [ValueError("y")])), "state": {name: 5}}
    error = unpack_error(fields, LIMITS)
    assert isinstance(error, ExceptionGroup)
    matching, _ = error.split(ValueError)
    assert matching is not None


def test_the_state_cannot_reach_what_a_builtin_keeps_inside() -> None:
    """Some builtin errors trust the types of their own fields when they are printed."""
    args = ["utf-8", b"x", 0, 1, "reason"]
    state = {"object": 5, "start": "x", "end": [], "encoding": 5, "reason": {}}
    fields = {"type_str": "UnicodeDecodeError", "args": args, "state": state}
    error = unpack_error(fields, LIMITS)
    assert isinstance(error, UnicodeDecodeError)
    assert error.object == b"x"
    assert shown(error)


@pytest.mark.parametrize(
    ("type_str", "state"),
    [
        ("SyntaxError", {"text": 5, "lineno": 1, "offset": "x", "filename": []}),
        ("SyntaxError", {"text": "x", "lineno": {}, "offset": 2**70, "end_offset": "y"}),
        ("OSError", {"errno": [], "strerror": 5, "filename": {}, "characters_written": "x"}),
        ("ImportError", {"msg": 5, "name": [], "path": {}}),
        ("AttributeError", {"name": 5, "obj": 5}),
        ("NameError", {"name": {}}),
        ("UnicodeEncodeError", {"object": 5, "reason": []}),
        ("UnicodeTranslateError", {"object": 5, "start": {}}),
        ("StopIteration", {"value": 5}),
    ],
)
def test_a_builtin_with_odd_fields_can_be_printed(type_str: str, state: dict[str, Any]) -> None:
    for args in ([], ["x"], ["ascii", "\xff", 0, 1, "r"], ["x", ["f", 1, 2, "t"]], [{}, [], 5]):
        fields = {"type_str": type_str, "args": args, "state": state}
        error = unpack_error(fields, LIMITS)
        assert isinstance(str(error), str)
        assert shown(error)


def test_a_deep_error_is_not_followed_to_its_bottom() -> None:
    fields: dict[Any, Any] = {}
    for _ in range(500):
        fields = {"type_str": "ValueError", "cause": fields, "context": fields, "group": [fields]}
    error = unpack_error(fields, LIMITS)
    assert isinstance(error, RemoteActorError)


def test_a_wide_error_is_not_built_whole() -> None:
    fields = {"type_str": "ExceptionGroup", "group": [{"type_str": "ValueError"}] * 100_000}
    error = unpack_error(fields, LIMITS)
    assert isinstance(error, ExceptionGroup)
    assert len(error.exceptions) < LIMITS.max_error_nodes


NAMES = st.sampled_from(
    [
        "ValueError",
        "KeyError",
        "OSError",
        "SyntaxError",
        "UnicodeDecodeError",
        "UnicodeEncodeError",
        "ImportError",
        "MemoryError",
        "ExceptionGroup",
        "actorsys.errors:ActorDied",
        "os:x",
        "print",
    ]
)
SIMPLE = st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.booleans()
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
STATES = st.dictionaries(
    st.sampled_from(["errno", "filename", "text", "object", "start", "name", "msg", "canceller"])
    | st.text(max_size=5),
    VALUES,
    max_size=4,
)
ERRORS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type_str": NAMES | VALUES,
            "message": st.just("") | VALUES,
            "tb_str": VALUES,
            "notes": st.lists(st.text(max_size=3)) | VALUES,
            "src_uid": VALUES,
            "relay_path": VALUES,
            "args": st.lists(VALUES, max_size=5) | VALUES,
            "state": STATES | VALUES,
            "cancelled": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type_str": NAMES},
        optional={"cause": inner, "context": inner, "group": st.lists(inner, max_size=3)},
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(ERRORS)
def test_no_fields_of_a_peer_raise_anything(fields: dict[str, Any]) -> None:
    error = unpack_error(fields, LIMITS)
    assert isinstance(error, ActorsysError)
    text = str(error) + shown(error)
    assert "\x1b" not in text
    again = unpack_error(over_the_wire(packed(error, RELAY)), LIMITS)
    assert isinstance(again, ActorsysError)


def test_a_map_with_keys_that_are_no_strings_does_no_harm() -> None:
    fields = msgpack.unpackb(
        msgpack.packb({1: 2, None: 3, "state": {1: 2, b"x": 3, "": 4, "a b": 5}}),
        strict_map_key=False,
    )
    assert isinstance(unpack_error(fields, LIMITS), RemoteActorError)
