"""Message classes as people write them: what dataclasses can do, a message can do as well."""

from __future__ import annotations

import abc
import copy
import dataclasses
import enum
import functools
import pickle
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid4

import pytest

from actorsys import EncodeError, message

T = TypeVar("T")


class Named(Protocol):
    name: str


class Level(enum.IntEnum):
    HIGH = 200


class Measured(abc.ABC):
    @abc.abstractmethod
    def size(self) -> int: ...


@dataclass
class Plain:
    plain: int = 0


@message
@dataclass
class Ground:
    a: int


@message
@dataclass
class Grown(Ground):
    b: int = 0


@message
@dataclass
class Mixed(Plain, Ground):
    pass


@message
@dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: int
    parts: list[int] = field(default_factory=list)


@message
@dataclass(frozen=True)
class FrozenComputed:
    x: int
    twice: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", self.x * 2)


@message
@dataclass(slots=True, weakref_slot=True)
class Referable:
    x: int


@message
@dataclass
class KeywordsOnly:
    a: int
    _: KW_ONLY
    b: int
    c: int = 3


@message
@dataclass
class WithLimit:
    x: int
    limit: ClassVar[int] = 9


@message
@dataclass
class WithName(Named):
    name: str


@message
@dataclass
class WithSize(Measured):
    text: str

    def size(self) -> int:
        return len(self.text)


@message
@dataclass
class Boxed(Generic[T]):
    item: T
    items: list[T] = field(default_factory=list)


@message
@dataclass
class Numbers(Boxed[int]):
    more: int = 0


@message
@dataclass
class Boxes:
    one: Boxed[int]
    many: list[Boxed[str]]
    perhaps: Boxed[UUID] | None = None


@message
@dataclass
class Cached:
    x: int

    @functools.cached_property
    def square(self) -> int:
        return self.x**2


@message
@dataclass
class Doubling:
    x: int

    def __post_init__(self) -> None:
        self.x *= 2


@message
@dataclass
class Scaled:
    x: int
    factor: InitVar[int] = 1
    y: int = field(init=False, default=0)

    def __post_init__(self, factor: int) -> None:
        self.y = self.x * factor


@message
@dataclass
class Urgent:
    x: int
    priority: int = field(init=False, default=200)


class Clipped:
    """A field that keeps its value elsewhere, and no greater than 10."""

    def __get__(self, instance: Any, _: object) -> Any:
        return 0 if instance is None else vars(instance)["x"]

    def __set__(self, instance: Any, value: int) -> None:
        vars(instance)["x"] = min(value, 10)


@message
@dataclass
class WithClipped:
    x: int = Clipped()  # type: ignore[assignment]


@message
@dataclass
class Labelled:
    x: int

    def __new__(cls, *_: object, **__: object) -> Labelled:
        made = super().__new__(cls)
        made.__dict__["label"] = "made"
        return made


class Once:
    """A field that is set once."""

    def __get__(self, instance: Any, _: object) -> Any:
        return 128 if instance is None else vars(instance)["priority"]

    def __set__(self, instance: Any, value: int) -> None:
        if "priority" in vars(instance):
            raise AttributeError("it was set before")
        vars(instance)["priority"] = value


@message
@dataclass
class SetOnce:
    x: int
    priority: int = Once()  # type: ignore[assignment]


class Stamping(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = cls.__new__(cls)
        made.__dict__["stamp"] = "made"
        made.__init__(*args, **kwargs)
        return made


@message
@dataclass
class Stamped(metaclass=Stamping):
    x: int


@message
@dataclass
class MadeTwice(Ground):
    b: int = 0

    def __post_init__(self) -> None:
        Ground.__init__(self, self.a + 1)  # type: ignore[arg-type]


@message
@dataclass
class Tree:
    """One that names itself, before it exists."""

    value: Any
    kids: list[Tree] = field(default_factory=list)
    left: Tree | None = None
    names: dict[str, Tree] = field(default_factory=dict)
    rest: tuple[Tree, ...] = ()


ALL = [
    Grown(1, 2),
    Mixed(1, 2),
    FrozenSlots(1, [2]),
    FrozenComputed(4),
    Referable(1),
    KeywordsOnly(1, b=2),
    WithLimit(1),
    WithName("n"),
    WithSize("text"),
    Boxed(uuid4(), [uuid4()]),
    Boxed((1, 2), [(3,)]),
    Numbers(1, [2], more=3),
    Boxes(Boxed(1), [Boxed("a")], Boxed(uuid4())),
    Cached(3),
    Doubling(2),
    Scaled(2, 5),
    Urgent(1),
    WithClipped(4),
    Labelled(1),
    SetOnce(1),
    Stamped(1),
    MadeTwice(1, 2),
    Tree(1, [Tree(2)], Tree(3), {"a": Tree(4)}, (Tree(5),)),
]


def travelled(sent: Any) -> Any:
    return type(sent).deserialize(sent.serialize())


def shallow(value: Any) -> Any:
    return copy.copy(value)


@pytest.mark.parametrize("sent", ALL, ids=lambda sent: type(sent).__name__)
@pytest.mark.parametrize("way", [travelled, shallow, copy.deepcopy])
def test_it_arrives_as_it_was_sent(sent: Any, way: Callable[[Any], Any]) -> None:
    arrived = way(sent)
    assert arrived == sent
    assert type(arrived) is type(sent)
    assert arrived.message_id == sent.message_id
    with pytest.raises(dataclasses.FrozenInstanceError):
        arrived.priority = 3


def test_what_was_cached_does_not_travel_and_is_found_anew() -> None:
    sent = Cached(3)
    assert sent.square == 9
    assert travelled(sent).square == 9
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_methods_and_class_variables_are_as_before() -> None:
    assert travelled(WithSize("text")).size() == 4
    assert WithLimit.limit == 9
    assert "limit" not in {one.name for one in dataclasses.fields(WithLimit)}


def test_code_of_the_class_runs_when_an_instance_is_made() -> None:
    assert WithClipped(12).x == 10
    assert Urgent(1).priority == 200
    assert vars(Labelled(1))["label"] == "made"
    assert vars(Stamped(1))["stamp"] == "made"
    assert MadeTwice(1).a == 2
    assert SetOnce(1, priority=3).priority == 3


def test_what_a_derived_class_has_set_before_stays() -> None:
    class Derived(Ground):
        def __init__(self, a: int) -> None:
            vars(self)["before"] = "set"
            super().__init__(a)

    assert vars(Derived(1))["before"] == "set"
    assert Derived(1).a == 1


@pytest.mark.parametrize("priority", [-1, 256, True, 1.0, "1", None])
def test_no_class_takes_a_priority_that_is_none(priority: Any) -> None:
    for made in (Ground, FrozenSlots, Doubling):
        with pytest.raises(ValueError, match="a priority is a whole number from 0 to 255"):
            made(1, priority=priority)


def test_a_priority_becomes_a_plain_number() -> None:
    assert type(Ground(1, priority=Level.HIGH).priority) is int


def test_arguments_that_do_not_fit_are_told_as_for_any_dataclass() -> None:
    with pytest.raises(TypeError, match=r"Ground.__init__\(\) missing 1 required .*'a'"):
        Ground()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        Ground(1, b=2)  # type: ignore[call-arg]


def test_bytes_of_any_kind_are_read() -> None:
    for size in (10, 600, 100_000):
        data = Boxed(b"x" * size).serialize()
        for kind in (bytes, bytearray, memoryview):
            assert Boxed.deserialize(kind(data)).item == b"x" * size


def test_instances_stay_small_where_there_are_many_classes() -> None:
    sizes = []
    for number in range(40):
        fields = [(f"field_{number}_{index}", int) for index in range(5)]
        made = message(dataclasses.make_dataclass(f"Many_{number}", fields))
        sizes.append(sys.getsizeof(vars(made(*range(5)))))
    assert sizes == [sizes[0]] * 40


def test_a_pattern_matches_the_fields_of_a_message() -> None:
    match Grown(1, 2):
        case Grown(a, b):
            assert (a, b) == (1, 2)
        case _:
            pytest.fail("it does not match")


# --- fields of strange names -------------------------------------------------------------------


def named(name: str) -> type[Any]:
    """Return a message class with one field of this name."""
    return message(dataclasses.make_dataclass(f"Strange_{name}", [(name, int)]))


@pytest.mark.parametrize(
    "name",
    ["args", "kwargs", "cls", "init", "version", "data", "fields", "changes", "type", "_", "__x"],
)
def test_a_field_may_have_any_name(name: str) -> None:
    sent = named(name)(5)
    assert travelled(sent) == sent
    assert getattr(sent.replace(**{name: 7}), name) == 7


def test_a_field_may_be_named_self() -> None:
    assert named("self")(5).replace(self=7) is not None


def test_a_private_field_keeps_its_value() -> None:
    assert named("_is_open")(5)._is_open == 5


# --- what a copy does --------------------------------------------------------------------------


def test_a_changed_copy_computes_anew_what_depends_on_the_change() -> None:
    copied = Scaled(2, 5).replace(x=3, factor=5)
    assert (copied.x, copied.y) == (3, 15)


def test_a_reply_is_made_once() -> None:
    assert Ground(1).reply(Doubling, 2).x == 4


# --- what is no message, though it looks like one ----------------------------------------------


def test_a_dataclass_derived_from_a_message_says_what_it_lacks() -> None:
    @dataclass
    class Derived(Ground):
        c: int = 0

    with pytest.raises(TypeError, match="@message"):
        Derived(1, 2).serialize()


def test_a_class_derived_from_a_message_is_not_sent_as_its_base_class() -> None:
    class Derived(Ground):
        pass

    with pytest.raises(TypeError, match="@message"):
        Derived(1).serialize()


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    first: int
    second: int


@pytest.mark.parametrize("cls", [Colour, Pair])
def test_a_class_that_cannot_be_a_dataclass_is_refused_with_a_reason(cls: Any) -> None:
    with pytest.raises(TypeError, match="@message"):
        message(cls)


# --- errors that say what to do ----------------------------------------------------------------


@message
@dataclass
class Shapes:
    pair: tuple[int, int] = (0, 0)
    mixed: tuple[int, *tuple[str, ...]] = (0,)
    colour: Any = None


@pytest.mark.parametrize("pair", [(1, 2, 3), (1,)])
def test_a_tuple_of_another_length_is_told_in_words(pair: Any) -> None:
    with pytest.raises(EncodeError, match="field 'pair'") as caught:
        Shapes(pair=pair).serialize()
    assert "zip" not in str(caught.value)


def test_a_tuple_may_be_annotated_with_members_of_any_number() -> None:
    sent = Shapes(mixed=(1, "a", "b"))
    assert travelled(sent) == sent


def test_an_enum_that_is_not_registered_is_not_to_become_a_dataclass() -> None:
    with pytest.raises(EncodeError, match="register_type") as caught:
        Shapes(colour=Colour.RED).serialize()
    assert "make it a dataclass" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        [{"a": (1, {2: [object()]})}],
        {"key": Tree(lambda: 1)},
        (Tree([Tree(object())]),),
    ],
)
def test_what_cannot_travel_deep_inside_is_named_with_its_type(value: Any) -> None:
    with pytest.raises(EncodeError, match=r"field 'value' of .*:Tree: .*(object|function)"):
        Tree(value).serialize()


@pytest.mark.parametrize("bad", ["abc", [3], [Tree]])
def test_a_list_of_messages_holds_messages(bad: Any) -> None:
    with pytest.raises(EncodeError, match="field 'kids'"):
        Tree(1, kids=bad).serialize()


@pytest.mark.parametrize("name", ["message_id", "correlation_id"])
@pytest.mark.parametrize("value", ["text", 5, b"1" * 16, "0" * 32])
def test_an_id_that_is_none_fails_where_it_is_sent(name: str, value: Any) -> None:
    with pytest.raises(EncodeError, match=f"field '{name}'"):
        Ground(1, **{name: value}).serialize()
