"""Messages as values: what a class gets, what travels, how it changes, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import enum
import math
import pickle
import sys
import threading
import types
import typing
import uuid
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, TypeVar

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernel_helpers import simulated

import actorsys
from actorsys import EncodeError, Priority, RemoteProtocolError, message

T = TypeVar("T")
UTC = datetime.UTC
KEY = uuid.UUID("a1b2c3d4-0000-4000-8000-000000000001")
MOMENT = datetime.datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


# --- classes ---------------------------------------------------------------------------------


@message
@dataclass
class WorkRequest:
    data: list[float]
    operation: str = "sum"


@message
class Bare:
    data: list[float]
    operation: str = "sum"


@message
@dataclass
class Explicit:
    """The request of the calculator, as its document spells it out."""

    a: float
    b: float
    operation: str = "add"
    message_id: uuid.UUID = field(default_factory=uuid.uuid4)
    priority: int = 128
    correlation_id: uuid.UUID | None = None


@message
@dataclass
class WorkResponse:
    result: Any = None
    success: bool = True
    error: str | None = None


@message
@dataclass
class Inner:
    value: Any = None


@message
@dataclass
class Deeper(Inner):
    more: tuple[int, ...] = ()


@message
@dataclass
class Table:
    """One field for each row of the type table."""

    integer: int = 0
    number: float = 0.0
    text: str = ""
    flag: bool = False
    raw: bytes = b""
    nothing: None = None
    items: list[Any] = field(default_factory=list)
    pair: tuple[Any, ...] = ()
    mapping: dict[Any, Any] = field(default_factory=dict)
    key: uuid.UUID = KEY
    moment: datetime.datetime = MOMENT
    inner: Inner = field(default_factory=Inner)


@message
@dataclass
class Hinted:
    """Annotations that decide how a value is written, inside each other."""

    many: tuple[int, ...]
    two: tuple[str, float]
    empty: tuple[()]
    pairs: list[tuple[int, int]]
    by_text: dict[str, datetime.datetime]
    by_key: dict[uuid.UUID, tuple[int, ...]]
    by_pair: dict[tuple[int, int], str]
    maybe: uuid.UUID | None
    maybe_moment: typing.Optional[datetime.datetime]  # noqa: UP045
    inners: list[Inner]
    maybe_inners: dict[int, Inner | None]
    either: int | str | tuple[int, int]
    anything: Any
    plain: list
    plain_tuple: tuple


@message
@dataclass
class Frozen:
    pass


@message
@dataclass(frozen=True)
class FrozenPoint:
    x: int
    y: int = 0


@message
@dataclass(slots=True)
class SlotPoint:
    x: int
    y: tuple[int, ...] = ()


@message
@dataclass(frozen=True, slots=True)
class FrozenSlotPoint:
    x: int
    y: tuple[int, ...] = ()


@message
@dataclass
class Node:
    name: str
    below: list[Node] = field(default_factory=list)
    beside: Node | None = None


class Colour(enum.Enum):
    RED = 1


actorsys.register_type(Colour)


def travelled(value: Any) -> Any:
    """Return *value* as a receiver gets it."""
    return type(value).deserialize(value.serialize())


def raw_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a message as plain msgpack has them."""
    return dict(msgpack.unpackb(value.serialize(), strict_map_key=False))


def from_raw(cls: Any, **fields: Any) -> Any:
    """Return the message of *cls* that some other sender has made of *fields*."""
    return cls.deserialize(msgpack.packb({"@": f"{__name__}:{cls.__qualname__}", **fields}))


# --- the envelope (rows 1, 6, 7, 8) ----------------------------------------------------------


@pytest.mark.parametrize("cls", [WorkRequest, Bare])
def test_both_spellings_make_the_same_message(cls: Any) -> None:
    request = cls([1, 2, 3])
    assert (request.data, request.operation) == ([1, 2, 3], "sum")
    assert type(request.message_id) is uuid.UUID
    assert (request.priority, request.correlation_id) == (128, None)
    assert cls(data=[1], operation="max") != request
    assert dataclasses.is_dataclass(cls)
    assert cls.__name__ in repr(request)
    assert cls.__module__ == __name__
    assert travelled(request) == request


def test_the_three_fields_are_accepted_by_keyword_only() -> None:
    request = WorkRequest([1.0], message_id=KEY, priority=7, correlation_id=KEY)
    assert (request.message_id, request.priority, request.correlation_id) == (KEY, 7, KEY)
    with pytest.raises(TypeError):
        WorkRequest([1.0], "sum", KEY)


def test_a_field_without_a_default_is_still_required() -> None:
    with pytest.raises(TypeError, match="data"):
        WorkRequest()


def test_fields_that_are_declared_are_not_added_again() -> None:
    names = [one.name for one in dataclasses.fields(Explicit)]
    assert names == ["a", "b", "operation", "message_id", "priority", "correlation_id"]
    assert Explicit(1, 2, "div", KEY, 5, KEY).priority == 5


def test_declared_fields_are_like_added_ones() -> None:
    request = Explicit(10, 5)
    assert request.operation == "add"
    assert type(request.message_id) is uuid.UUID
    assert (request.priority, request.correlation_id) == (128, None)
    assert travelled(request) == request


def test_a_class_may_choose_its_own_priority() -> None:
    @message
    @dataclass
    class Urgent:
        priority: int = 250

    assert Urgent().priority == 250
    assert Urgent(priority=1).priority == 1


def test_every_message_has_an_id_of_its_own_that_stays() -> None:
    ids = {Frozen().message_id for _ in range(1000)}
    assert len(ids) == 1000
    request = Frozen()
    assert travelled(request).message_id == request.message_id == request.message_id


def test_a_message_seen_twice_is_found_by_its_id_and_by_its_hash() -> None:
    request = WorkRequest([1.0])
    again = travelled(request)
    assert again is not request
    assert len({request, again}) == len({request.message_id, again.message_id}) == 1
    assert again not in {WorkRequest([1.0]), request.replace(operation="max")}


def test_a_message_may_have_no_fields_of_its_own() -> None:
    assert travelled(Frozen(priority=3)).priority == 3


@pytest.mark.parametrize("name", ["message", "reply", "replace", "serialize", "upgrade"])
def test_a_field_may_be_named_like_a_method(name: str) -> None:
    made = message(dataclasses.make_dataclass(f"With_{name}", [(name, str)]))
    assert getattr(made("hello"), name) == "hello"


def test_what_is_no_class_cannot_be_a_message() -> None:
    with pytest.raises(TypeError, match="classes"):
        message(lambda: None)  # type: ignore[call-overload]


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_a_version_is_a_number_from_one(version: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        message(version=version)(type("Versioned", (), {"__annotations__": {}}))


# --- priorities (row 9) ----------------------------------------------------------------------


@pytest.mark.parametrize("priority", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("cls", [Frozen, FrozenSlotPoint])
def test_a_priority_from_0_to_255_is_kept(cls: Any, priority: int) -> None:
    fields = {"x": 1} if cls is FrozenSlotPoint else {}
    assert travelled(cls(**fields, priority=priority)).priority == priority


@pytest.mark.parametrize("priority", [-1, 256, 2**40, True, False, 1.5, 128.0, "1", None])
@pytest.mark.parametrize("make", [WorkRequest, FrozenPoint, SlotPoint])
def test_what_is_no_priority_is_refused(make: Any, priority: Any) -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        make(1, priority=priority)


def test_a_copy_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        WorkRequest([1.0]).replace(priority=256)
    with pytest.raises(ValueError, match="0 to 255"):
        Explicit(1, 2, priority=-1)


def test_a_default_that_is_no_priority_is_refused_when_it_is_used() -> None:
    made = message(dataclasses.make_dataclass("Wrong", [("priority", int, 300)]))
    with pytest.raises(ValueError, match="300"):
        made()


def test_the_named_levels_lie_in_the_documented_ranges() -> None:
    ranges = {
        Priority.LOW: range(64),
        Priority.BELOW_NORMAL: range(64, 128),
        Priority.NORMAL: range(128, 129),
        Priority.ABOVE_NORMAL: range(129, 192),
        Priority.HIGH: range(192, 256),
    }
    assert set(ranges) == set(Priority)
    assert all(level in allowed for level, allowed in ranges.items())


def test_a_named_level_is_kept_as_a_plain_number() -> None:
    assert type(Frozen(priority=Priority.HIGH).priority) is int
    assert type(FrozenPoint(1, priority=Priority.LOW).priority) is int


# --- messages cannot be changed (row 29) -----------------------------------------------------

UNCHANGEABLE = [
    WorkRequest([1.0]),
    Bare([1.0]),
    Explicit(1, 2),
    FrozenPoint(1),
    SlotPoint(1),
    FrozenSlotPoint(1),
]


@pytest.mark.parametrize("value", UNCHANGEABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("has_travelled", [False, True])
def test_nothing_of_a_message_can_be_changed(value: Any, has_travelled: bool) -> None:
    value = travelled(value) if has_travelled else value
    names = [one.name for one in dataclasses.fields(value)]
    before = repr(value)
    for name in [*names, "something_else"]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 1)
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(value, name)
    assert repr(value) == before


def test_the_error_says_what_to_do_instead() -> None:
    with pytest.raises(AttributeError, match=r"replace\(operation="):
        WorkRequest([1.0]).operation = "max"


def test_a_message_that_could_not_be_made_leaves_no_way_to_change_it() -> None:
    made = []

    @message
    @dataclass
    class Failing:
        x: int

        def __post_init__(self) -> None:
            made.append(self)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Failing(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].x = 2


# --- copies and replies (rows 12, 13) --------------------------------------------------------


def test_a_changed_copy_is_the_same_message() -> None:
    request = WorkRequest([1.0], priority=7)
    changed = request.replace(operation="max", priority=9)
    assert changed.message_id == request.message_id
    assert (changed.operation, changed.priority) == ("max", 9)
    assert (request.operation, request.priority) == ("sum", 7)
    assert changed != request


def test_a_reply_is_correlated_and_as_urgent_as_the_request() -> None:
    request = WorkRequest([1.0], priority=200)
    reply = request.reply(WorkResponse, 6.0, success=False)
    assert type(reply) is WorkResponse
    assert reply.correlation_id == request.message_id
    assert (reply.priority, reply.result, reply.success) == (200, 6.0, False)
    assert reply.message_id != request.message_id
    assert request.reply(WorkResponse, priority=1).priority == 1


def test_a_correlation_survives_the_way() -> None:
    request = WorkRequest([1.0])
    response = WorkResponse(result=1.0, correlation_id=request.message_id)
    assert travelled(response).correlation_id == request.message_id


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("make", [WorkRequest, FrozenPoint, FrozenSlotPoint])
def test_a_message_can_be_copied(make: Any, copied: Callable[[Any], Any]) -> None:
    value = make(1)
    assert copied(value) == value


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_a_message_with_slots_can_be_copied(copied: Callable[[Any], Any]) -> None:
    value = SlotPoint(1, (2, 3))
    assert copied(value) == value


# --- the type table (rows 16, 17) ------------------------------------------------------------

ROWS = [
    ("integer", 0, 0),
    ("integer", -(2**63), -(2**63)),
    ("integer", 2**64 - 1, 2**64 - 1),
    ("number", -0.0, -0.0),
    ("number", math.inf, math.inf),
    ("number", 5e-324, 5e-324),
    ("text", "", ""),
    ("text", "naïve \U0001f600\x00", "naïve \U0001f600\x00"),
    ("flag", True, True),
    ("raw", b"\x00\xff", b"\x00\xff"),
    ("nothing", None, None),
    ("items", [1, "two", None, [3.0]], [1, "two", None, [3.0]]),
    ("pair", (1, "two"), [1, "two"]),
    ("mapping", {"a": 1, "b": [2]}, {"a": 1, "b": [2]}),
    ("key", KEY, KEY.bytes),
    ("moment", MOMENT, "2026-03-01T12:30:15.123456+00:00"),
    ("moment", MOMENT.replace(tzinfo=None), "2026-03-01T12:30:15.123456"),
]


@pytest.mark.parametrize(("name", "value", "raw"), ROWS, ids=str)
def test_a_row_of_the_type_table(name: str, value: Any, raw: Any) -> None:
    sent = Table(**{name: value})
    assert repr(raw_fields(sent)[name]) == repr(raw)
    arrived = travelled(sent)
    assert arrived == sent
    assert repr(getattr(arrived, name)) == repr(value)


def test_a_nested_message_travels_as_a_map_and_keeps_its_class() -> None:
    sent = Table(inner=Inner({"deep": (1, 2)}, priority=9))
    raw = raw_fields(sent)["inner"]
    assert isinstance(raw, dict)
    assert raw["message_id"] == sent.inner.message_id.bytes
    arrived = travelled(sent)
    assert arrived == sent
    assert type(arrived.inner) is Inner


def test_a_nested_message_may_be_of_a_derived_class() -> None:
    sent = Table(inner=Deeper(1, (2, 3)))
    arrived = travelled(sent)
    assert arrived == sent
    assert type(arrived.inner) is Deeper


def test_nan_stays_nan() -> None:
    assert math.isnan(travelled(Table(number=math.nan)).number)


def test_serialize_makes_bytes_with_the_three_fields() -> None:
    request = WorkRequest([1.0, 2.0], priority=5, correlation_id=KEY)
    data = request.serialize()
    assert type(data) is bytes
    raw = msgpack.unpackb(data)
    assert raw["message_id"] == request.message_id.bytes
    assert (raw["priority"], raw["correlation_id"]) == (5, KEY.bytes)
    assert WorkRequest.deserialize(data) == request


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.uuids(),
)
moments = st.datetimes(timezones=st.sampled_from([None, UTC, datetime.timezone.min])).map(
    lambda moment: moment.replace(fold=0)
)
anything = st.recursive(
    scalars | moments | st.builds(Inner, scalars),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.lists(inside, max_size=3).map(tuple),
        st.dictionaries(scalars.filter(lambda key: key is not None), inside, max_size=3),
    ),
    max_leaves=6,
)
small = st.integers(-9, 9)
many = st.lists(small, max_size=3).map(tuple)
inners = st.one_of(st.builds(Inner, anything), st.builds(Deeper, anything, many))
hinted = st.builds(
    Hinted,
    many=many,
    two=st.tuples(st.text(max_size=3), st.floats(allow_nan=False)),
    empty=st.just(()),
    pairs=st.lists(st.tuples(small, small), max_size=3),
    by_text=st.dictionaries(st.text(max_size=3), moments, max_size=2),
    by_key=st.dictionaries(st.uuids(), many, max_size=2),
    by_pair=st.dictionaries(st.tuples(small, small), st.text(max_size=3), max_size=2),
    maybe=st.none() | st.uuids(),
    maybe_moment=st.none() | moments,
    inners=st.lists(inners, max_size=2),
    maybe_inners=st.dictionaries(small, st.none() | inners, max_size=2),
    either=small | st.text(max_size=3) | st.tuples(small, small),
    anything=anything,
    plain=st.lists(anything, max_size=2),
    plain_tuple=many,
    priority=st.integers(0, 255),
    correlation_id=st.none() | st.uuids(),
)


@settings(max_examples=25, deadline=None, print_blob=True)
@given(hinted)
def test_whatever_is_inside_arrives_as_it_was(sent: Any) -> None:
    arrived = travelled(sent)
    assert arrived == sent
    assert repr(arrived) == repr(sent)


@settings(max_examples=25, deadline=None, print_blob=True)
@given(st.builds(Inner, anything))
def test_what_no_annotation_tells_travels_with_its_type(sent: Any) -> None:
    assert repr(travelled(sent)) == repr(sent)


def test_other_values_of_the_tree_may_be_inside() -> None:
    values = [{1, 2}, frozenset([3]), 1 + 2j, Colour.RED, 2**200]
    assert travelled(Inner(values)).value == values


def test_a_list_will_do_where_a_tuple_is_annotated() -> None:
    assert travelled(Deeper(None, [1, 2])).more == (1, 2)


@pytest.mark.parametrize(
    ("hint", "value", "raw"),
    [
        (tuple, (1, "two"), [1, "two"]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (list[uuid.UUID], [KEY], [KEY.bytes]),
        (dict[str, uuid.UUID], {"a": KEY}, {"a": KEY.bytes}),
        (typing.List[datetime.datetime], [MOMENT], [MOMENT.isoformat()]),  # noqa: UP006
        (typing.Tuple[int, ...], (1,), [1]),  # noqa: UP006
        (uuid.UUID | None, KEY, KEY.bytes),
        (typing.Annotated[tuple[int, int], "a note"], (1, 2), [1, 2]),
        ("tuple[int, ...]", (1, 2), [1, 2]),
    ],
    ids=str,
)
def test_annotations_may_be_objects_or_text(hint: Any, value: Any, raw: Any) -> None:
    made = message(dataclasses.make_dataclass("AnyHint", [("x", hint)]))
    sent = made(value)
    assert raw_fields(sent)["x"] == raw
    assert repr(travelled(sent).x) == repr(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(typing.List, [1]), (typing.Dict, {1: 2}), (typing.Tuple, (1, 2))],  # noqa: UP006
    ids=str,
)
def test_the_old_names_may_stand_without_brackets(hint: Any, value: Any) -> None:
    made = message(dataclasses.make_dataclass(f"Old_{hint._name}", [("x", hint)]))
    assert travelled(made(value)).x == value


def test_a_key_may_be_a_tuple_or_none() -> None:
    made = message(
        dataclasses.make_dataclass("MaybeKeys", [("x", dict[tuple[int, int] | None, str])])
    )
    value = {(1, 2): "a", None: "b"}
    assert travelled(made(value)).x == value


def test_a_class_may_name_itself() -> None:
    tree = Node("a", [Node("b", [Node("c")]), Node("d")], beside=Node("e"))
    assert travelled(tree) == tree
    assert type(travelled(tree).below[0]) is Node


def test_classes_in_a_function_may_name_each_other() -> None:
    @message
    @dataclass
    class Leaf:
        point: tuple[int, int]

    @message
    @dataclass
    class Branch:
        leaves: list[Leaf]
        at: tuple[int, ...]
        moment: datetime.datetime

    branch = Branch([Leaf((1, 2))], (3,), MOMENT)
    assert repr(travelled(branch)) == repr(branch)


def test_a_message_is_packed_in_any_thread() -> None:
    sent = [tree_of(n) for n in range(50)]
    arrived: list[Any] = []
    threads = [
        threading.Thread(target=lambda: arrived.extend(map(travelled, sent))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arrived) == 200
    assert all(one in sent for one in arrived)


def tree_of(number: int) -> Any:
    """Return a message with something of everything."""
    return Node(f"{number}", [Node("inside", priority=number)])


def test_large_values_travel_inside_a_message() -> None:
    value = {"blob": b"x" * 300_000, "text": "y" * 300_000}
    assert travelled(Inner(value)).value == value


# --- value semantics (rows 2, 29) ------------------------------------------------------------


def test_what_has_been_packed_is_a_copy() -> None:
    values = [1.0]
    request = WorkRequest(values)
    data = request.serialize()
    values.append(2.0)
    arrived = WorkRequest.deserialize(data)
    assert arrived.data == [1.0]
    arrived.data.append(3.0)
    assert request.data == [1.0, 2.0]


# --- kinds of dataclasses --------------------------------------------------------------------


@pytest.mark.parametrize("cls", [FrozenPoint, SlotPoint, FrozenSlotPoint])
def test_the_options_of_the_dataclass_are_kept(cls: Any) -> None:
    point = cls(1)
    assert travelled(point) == point
    assert hash(travelled(point)) == hash(point)
    assert point.replace(x=5).x == 5
    assert cls.__dataclass_params__.frozen is (cls is not SlotPoint)


def test_order_equality_repr_and_keywords_are_kept() -> None:
    @message
    @dataclass(order=True)
    class Ordered:
        x: int

    @message
    @dataclass(eq=False)
    class Unequal:
        x: int

    @message
    @dataclass(repr=False, kw_only=True)
    class Plain:
        x: int

    assert Ordered(1) < Ordered(2)
    one = Unequal(1)
    assert (one == one, one == travelled(one)) == (True, False)
    assert repr(Plain(x=1)).startswith("<")
    with pytest.raises(TypeError):
        Plain(1)


def test_an_own_repr_is_kept() -> None:
    @message
    @dataclass
    class Secret:
        word: str

        def __repr__(self) -> str:
            return "Secret(...)"

    assert repr(travelled(Secret("hush"))) == "Secret(...)"


def test_an_own_equality_is_kept() -> None:
    @message
    @dataclass
    class Word:
        text: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Word) and self.text.lower() == other.text.lower()

    assert Word("a") == Word("A")


def test_an_own_hash_is_kept() -> None:
    @message
    @dataclass(frozen=True)
    class Word:
        text: str

        def __hash__(self) -> int:
            return 7

    assert hash(Word("a")) == 7


@pytest.mark.parametrize("init", [True, False])
def test_an_own_init_is_kept_or_refused(init: bool) -> None:
    @dataclass(init=init)
    class Parsed:
        number: int

        def __init__(self, text: str) -> None:
            self.number = int(text)

    Parsed.__qualname__ = f"Parsed_{init}"
    try:
        made = message(Parsed)
    except TypeError:
        return
    assert made("3").number == 3


def test_a_generic_class_can_be_subscribed() -> None:
    @message
    @dataclass
    class Box(Generic[T]):
        value: T

    assert travelled(Box(1)).value == 1
    assert Box[int](value=1).value == 1


def test_an_own_post_init_runs_once_where_the_message_is_made() -> None:
    calls = []

    @message
    @dataclass
    class Doubled:
        x: int
        twice: int = field(init=False)
        extra: InitVar[int] = 0

        def __post_init__(self, extra: int) -> None:
            calls.append(self.x)
            self.twice = self.x * 2 + extra

    sent = Doubled(2, extra=1)
    arrived = travelled(sent)
    assert (sent.twice, arrived.twice) == (5, 5)
    assert calls == [2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        arrived.twice = 1


def test_what_is_no_field_does_not_travel() -> None:
    @message
    @dataclass
    class Cached:
        x: int

        def __post_init__(self) -> None:
            self.note = "only here"

    sent = Cached(1)
    assert sent.note == "only here"
    assert "note" not in raw_fields(sent)
    assert not hasattr(travelled(sent), "note")


def test_a_message_may_be_derived_from_another() -> None:
    derived = Deeper("value", (1, 2), priority=3)
    assert isinstance(derived, Inner)
    assert travelled(derived) == derived
    assert type(Inner.deserialize(derived.serialize())) is Deeper
    with pytest.raises(RemoteProtocolError, match="Inner"):
        Deeper.deserialize(Inner(1).serialize())


def test_a_message_may_be_derived_from_a_plain_dataclass() -> None:
    @dataclass
    class Base:
        x: int
        y: tuple[int, ...] = ()

    @message
    @dataclass
    class Derived(Base):
        z: int = 3

    sent = Derived(1, (2,), 4)
    assert travelled(sent) == sent
    assert [sent.x, sent.y, sent.z] == [1, (2,), 4]


# --- two classes of one name -----------------------------------------------------------------


def test_a_second_class_of_the_same_name_is_refused() -> None:
    def define() -> Any:
        @message
        @dataclass
        class Twin:
            x: int

        return Twin

    first = define()
    with pytest.raises(TypeError, match="already registered"):
        define()
    assert travelled(first(1)).x == 1


def test_a_module_that_is_run_again_brings_its_classes_up_to_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module: Any = types.ModuleType("run_again")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.message = message
    code = "@message\nclass Rerun:\n    {}: int = 0\n"
    exec(code.format("before"), vars(module))
    old = module.Rerun(before=5)
    exec(code.format("after"), vars(module))
    arrived = module.Rerun.deserialize(old.serialize())
    assert type(arrived) is module.Rerun
    assert arrived.after == 0


# --- versions (row 30) -----------------------------------------------------------------------


@message(version=3)
@dataclass
class Reading:
    celsius: float
    sensor: str = "unknown"
    marks: tuple[int, ...] = (1, 2)


@Reading.upgrade(from_version=1)
def to_celsius(fields: dict[str, Any]) -> dict[str, Any]:
    fields["degrees"] = (fields.pop("fahrenheit") - 32) / 1.8
    return fields


@Reading.upgrade(from_version=2)
def to_full_name(fields: dict[str, Any]) -> dict[str, Any]:
    fields["celsius"] = fields.pop("degrees")
    return fields


def test_unknown_fields_are_ignored_and_missing_ones_get_their_defaults() -> None:
    request = from_raw(WorkRequest, data=[1.0], colour="red", shape={"deep": [1]})
    assert (request.data, request.operation, request.priority) == ([1.0], "sum", 128)
    assert type(request.message_id) is uuid.UUID
    assert not hasattr(request, "colour")


def test_defaults_of_missing_fields_are_fresh_and_typed() -> None:
    one, two = from_raw(Table), from_raw(Table)
    assert repr(one.pair) == "()"
    assert (one.moment, one.key) == (MOMENT, KEY)
    assert type(one.inner) is Inner
    one.items.append(1)
    assert two.items == []


def test_a_field_that_has_no_default_must_be_there() -> None:
    with pytest.raises(RemoteProtocolError, match="'data'"):
        from_raw(WorkRequest, operation="max")


def test_an_old_message_is_brought_up_to_date_step_by_step() -> None:
    old = from_raw(Reading, fahrenheit=212.0)
    assert (old.celsius, old.sensor, old.marks) == (100.0, "unknown", (1, 2))
    newer = from_raw(Reading, degrees=20.0, **{"@version": 2})
    assert newer.celsius == 20.0


def test_a_message_of_this_version_is_not_upgraded() -> None:
    reading = Reading(1.0, marks=(3,))
    assert raw_fields(reading)["@version"] == 3
    assert travelled(reading) == reading


def test_a_message_of_a_later_version_is_read_like_this_one() -> None:
    assert from_raw(Reading, celsius=1.0, humidity=2, **{"@version": 4}).celsius == 1.0


def test_a_nested_message_is_brought_up_to_date_too() -> None:
    inner = {"@": f"{__name__}:Reading", "fahrenheit": 32.0}
    made = message(dataclasses.make_dataclass("Log", [("readings", list[Reading])]))
    made.__module__ = __name__
    tag = raw_fields(made([]))["@"]
    log = made.deserialize(msgpack.packb({"@": tag, "readings": [inner]}))
    assert [reading.celsius for reading in log.readings] == [0.0]


@pytest.mark.parametrize("version", [0, 3, 4, -1])
def test_there_is_an_upgrade_from_an_earlier_version_only(version: int) -> None:
    with pytest.raises(ValueError, match="no upgrade"):
        Reading.upgrade(from_version=version)(to_celsius)


def test_an_upgrade_is_registered_once() -> None:
    with pytest.raises(ValueError, match="already"):
        Reading.upgrade(from_version=1)(to_celsius)


# --- what cannot travel (row 18) -------------------------------------------------------------


def field_and_text(value: Any) -> tuple[str | None, str]:
    """Return what the error says that *value* cannot travel."""
    with pytest.raises(EncodeError) as caught:
        value.serialize()
    return caught.value.field, str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        [1, object()],
        {"a": {"b": object()}},
        (object(),),
        "\ud800",
        lambda: None,
        {object},
    ],
    ids=["object", "in a list", "in maps", "in a tuple", "surrogate", "lambda", "in a set"],
)
def test_the_error_names_class_and_field(value: Any) -> None:
    name, text = field_and_text(Inner(value))
    assert name == "value"
    assert "'value'" in text
    assert "Inner" in text


@pytest.mark.parametrize(
    "outer", [Table(items=[Inner(object())]), Inner(Inner(object())), Table(inner=Inner(object()))]
)
def test_the_innermost_field_is_named(outer: Any) -> None:
    name, text = field_and_text(outer)
    assert name == "value"
    assert "Inner" in text


def test_the_innermost_field_in_a_list_is_named() -> None:
    wrong: Any = object()
    name, text = field_and_text(Node("n", below=[Node("m", below=[Node(wrong)])]))
    assert name == "name"
    assert "object" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key", "a1b2"),
        ("key", None),
        ("moment", "2026-03-01"),
        ("moment", MOMENT.date()),
        ("pair", 5),
        ("pair", "ab"),
        ("inner", {"value": 1}),
        ("inner", Frozen(message_id=uuid.UUID(int=4711))),
        ("inner", None),
    ],
    ids=str,
)
def test_a_value_that_needs_its_annotation_must_be_what_it_says(name: str, value: Any) -> None:
    assert field_and_text(Table(**{name: value}))[0] == name


@pytest.mark.parametrize("pair", [(), (1,), ("a", 1.0, 2)])
def test_a_tuple_has_as_many_members_as_annotated(pair: Any) -> None:
    made = message(dataclasses.make_dataclass(f"Pair{len(pair)}", [("pair", tuple[str, float])]))
    assert field_and_text(made(pair))[0] == "pair"


def test_a_list_that_holds_itself_cannot_travel() -> None:
    value: list[Any] = []
    value.append(value)
    assert field_and_text(Inner(value))[0] == "value"


@pytest.mark.parametrize("is_endless", [False, True])
def test_messages_nested_too_deeply_cannot_travel(is_endless: bool) -> None:
    node = Node("leaf")
    if is_endless:
        node.below.append(node)
    for _ in range(1000):
        node = Node("n", [node])
    assert field_and_text(node)[0] == "below"


def test_what_lacks_a_field_cannot_travel() -> None:
    made = message(dataclasses.make_dataclass("Unset", [("x", int, field(init=False))]))
    assert "'x'" in field_and_text(made())[1]


def test_after_an_error_the_next_message_travels() -> None:
    with pytest.raises(EncodeError):
        Inner([object()]).serialize()
    assert travelled(Inner([1])).value == [1]


# --- bytes that are no message ---------------------------------------------------------------

SOUND = Table(pair=(1, 2), inner=Deeper({"a": [1]}, (1,)), items=[KEY, (1, 2)]).serialize()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x00",
        SOUND[:-1],
        SOUND + b"\x00",
        msgpack.packb([1, 2]),
        msgpack.packb({}),
        msgpack.packb({"@": "os:system", "command": "true"}),
        msgpack.packb({"@": f"{__name__}:Nothing"}),
        msgpack.packb({"@": ["a"]}),
        msgpack.packb({"@": f"{__name__}:Colour"}),
        msgpack.packb({"@": f"{__name__}:WorkRequest"}),
        msgpack.packb({"@": f"{__name__}:Table", "key": b"short"}),
        msgpack.packb({"@": f"{__name__}:Table", "moment": "yesterday"}),
        msgpack.packb({"@": f"{__name__}:Table", "inner": {"value": 1}}),
        msgpack.packb({"@": f"{__name__}:Table", "inner": {"@": f"{__name__}:Frozen"}}),
        msgpack.packb({"@": f"{__name__}:Reading", "@version": 1}),
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Table.deserialize(data)


def test_the_error_says_how_to_know_the_class() -> None:
    with pytest.raises(RemoteProtocolError, match="import the module"):
        Table.deserialize(msgpack.packb({"@": "elsewhere:Thing"}))


@pytest.mark.parametrize(
    "strange", [msgpack.ExtType(99, b"?"), msgpack.ExtType(9, b"\x92\xa1x\x01")]
)
def test_a_field_that_means_nothing_here_is_refused(strange: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        from_raw(Inner, value=[strange])


def mangled(data: bytes) -> Iterator[bytes]:
    """Yield *data* with each byte replaced, left out, or doubled, and cut at each place."""
    for place in range(len(data)):
        for byte in (0x00, 0x80, 0x90, 0xC7, 0xD9, 0xDD, 0xFF):
            yield data[:place] + bytes([byte]) + data[place + 1 :]
        yield data[:place] + data[place + 1 :]
        yield data[: place + 1] + data[place:]
        yield data[:place]


def test_mangled_bytes_are_a_message_or_a_protocol_error() -> None:
    outcomes = set()
    for data in mangled(SOUND):
        try:
            outcomes.add(type(Table.deserialize(data)).__name__)
        except RemoteProtocolError:
            outcomes.add("refused")
    assert outcomes == {"Table", "refused"}


@settings(deadline=None, print_blob=True)
@given(st.binary(max_size=60))
@example(b"\x81\xa1@\xa1@")
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert isinstance(Inner.deserialize(data), Inner)


# --- as values of the tree (rows 19, 22, 28) -------------------------------------------------


@message
@dataclass
class LogEvent:
    level: str
    message: str
    timestamp: float = field(default_factory=lambda: 12.5)


@message
@dataclass
class GoodRequest:
    buffer_id: str  # Reference to UnifiedBuffer
    size: int


async def send_back(value: Any) -> list[Any]:
    return [value, type(value).__name__]


@simulated
async def test_a_message_travels_wherever_a_value_does() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=[__name__])
        for sent in (
            GoodRequest(buffer_id="buffer-1", size=1_000_000, priority=9),
            LogEvent(level="INFO", message="Started"),
            Table(inner=Deeper((1, 2), (3,)), pair=(1, (2, 3))),
            FrozenSlotPoint(1, (2,)),
        ):
            arrived, name = await portal.run(send_back, sent)
            assert arrived == sent
            assert repr(arrived) == repr(sent)
            assert name == type(sent).__name__
        await portal.cancel_actor()


@simulated
async def test_an_argument_that_cannot_travel_is_named_with_its_field() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=[__name__])
        with pytest.raises(EncodeError, match=r"'value' of .*Inner"):
            await portal.run(send_back, Inner(object()))
        await portal.cancel_actor()


def test_a_request_that_names_a_buffer_travels_as_text_and_a_number() -> None:
    sent = GoodRequest("buffer-1", 10**9)
    assert travelled(sent) == sent
    assert len(sent.serialize()) < 200
