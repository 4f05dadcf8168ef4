"""The documents are true: their code runs, their bytes and tables are those of the package."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
import pathlib
import re
import sys
import textwrap
import types
import uuid
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
from script_server import ScriptServer, open_script_server

from actorsys.channel import pack_error
from actorsys.channel.remote_errors import pack_cancelled
from actorsys.limits import DEFAULT_LIMITS
from actorsys.wire import (
    ClientHandshake,
    Codec,
    Credentials,
    Credit,
    ErrorReply,
    Functype,
    Item,
    Message,
    Return,
    ServerHandshake,
    Started,
    Stop,
    TypeTable,
    extensions,
    handshake,
    messages,
)
from actorsys.wire.states import AFTER_FUNCTYPE, CALLEE_START, CALLEE_TABLE, CALLER_TABLE

ROOT = pathlib.Path(__file__).parent.parent
PROTOCOL = ROOT / "docs" / "protocol.md"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM_MARK = 'if __name__ == "__main__":'

# --- reading a document ---------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block: the words behind its fence, its text, and where it stands."""

    path: pathlib.Path
    line: int
    words: tuple[str, ...]
    text: str
    is_skipped: bool

    @property
    def language(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.line}"


_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_NOT_RUN = re.compile(r"^ *<!-- not run: \S.*-->$")


def blocks_of(path: pathlib.Path) -> list[Block]:
    found = []
    lines = enumerate(path.read_text().splitlines(), 1)
    before = ""
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            before = line if line.strip() else before
            continue
        body = []
        for _, inner in lines:
            if inner.strip().startswith(fence[2]):
                break
            body.append(inner)
        text = textwrap.dedent("\n".join(body)) + "\n"
        skipped = _NOT_RUN.match(before) is not None
        found.append(Block(path, number, tuple(fence[3].split()), text, skipped))
        before = ""
    return found


def prose_of(path: pathlib.Path) -> list[str]:
    """Return the lines outside fenced blocks."""
    text = re.sub(r"(?ms)^ *(```+|~~~+).*?^ *\1 *$", "", path.read_text())
    return text.splitlines()


def table_under(path: pathlib.Path, heading: str) -> list[dict[str, str]]:
    """Return the first table after *heading*: for each row, its cells by column."""
    lines = iter(path.read_text().splitlines())
    for line in lines:
        if re.fullmatch(rf"#+ {re.escape(heading)}", line):
            break
    else:
        raise AssertionError(f"{path.name} has no heading {heading!r}")
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows or line.startswith("#"):
            break
    assert len(rows) > 2, f"no table under {heading!r} of {path.name}"
    head, _, *body = rows
    return [dict(zip(head, row, strict=True)) for row in body]


def plain(cell: str) -> str:
    return cell.replace("`", "")


PYTHON = [block for path in DOCUMENTS for block in blocks_of(path) if block.language == "python"]
RUN = [block for block in PYTHON if not block.is_skipped]
PROGRAMS = [block for block in RUN if PROGRAM_MARK in block.text]
FRAGMENTS = [block for block in RUN if PROGRAM_MARK not in block.text]

# --- the code in the documents runs ---------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptServer]:
    with open_script_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.place)
def test_program_runs(block: Block, server: ScriptServer, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block.text)
    result = server.run(script)
    assert result.returncode == 0, f"{block.place}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize(
    "path",
    sorted({block.path for block in FRAGMENTS}),
    ids=lambda path: path.name,
)
def test_fragments_run_one_after_another(path: pathlib.Path) -> None:
    module = types.ModuleType(f"docs_{path.stem}")
    sys.modules[module.__name__] = module  # where dataclasses look for their module
    try:
        for block in FRAGMENTS:
            if block.path == path:
                # The empty lines make a traceback name the line of the document.
                source = "\n" * block.line + block.text
                exec(compile(source, str(path), "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]


# --- the links lead somewhere ---------------------------------------------------------------

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def anchors_of(path: pathlib.Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    anchors: set[str] = set()
    for line in prose_of(path):
        heading = re.match(r"#{1,6} +(.*?) *$", line)
        if heading is None:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        names = (base if not n else f"{base}-{n}" for n in itertools.count())
        anchors.add(next(name for name in names if name not in anchors))
    return anchors


def links_of(path: pathlib.Path) -> Iterator[str]:
    for line in prose_of(path):
        yield from _LINK.findall(re.sub(r"`[^`]*`", "``", line))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: pathlib.Path) -> None:
    dead = []
    for link in links_of(path):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        is_alive = target.exists()
        if is_alive and anchor and target.suffix == ".md":
            is_alive = anchor in anchors_of(target)
        if not is_alive:
            dead.append(link)
    assert not dead, f"{path.name} links to nothing: {dead}"


# --- the examples of the protocol -----------------------------------------------------------

KEY = bytes(range(32))
CLIENT = ("worker", "w-1")
SERVER = ("root", "r-1")


def shake_hands(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return the frames of a handshake with the fixed key and nonces."""

    def begin(cls: Any, uid: tuple[str, str], nonce: bytes) -> Any:
        monkeypatch.setattr(handshake.os, "urandom", lambda size: nonce[:size])
        return cls(Credentials(uid, lambda _: KEY), DEFAULT_LIMITS)

    client = begin(ClientHandshake, CLIENT, b"\x11" * 32)
    server = begin(ServerHandshake, SERVER, b"\x22" * 32)
    monkeypatch.undo()
    hello = client.start()
    answer = server.receive(hello)
    proof = client.receive(answer)
    assert server.receive(proof) == b""
    assert client.session is not None
    assert server.session is not None
    end_of_hello = 4 + int.from_bytes(answer[:4], "little")
    return {
        "client-hello": hello,
        "server-hello": answer[:end_of_hello],
        "server-proof": answer[end_of_hello:],
        "client-proof": proof,
        "version-refusal": handshake.refusal(),
    }


def call(func: str, kwargs: dict[str, Any], cid: str, ns: str = "app") -> dict[str, Any]:
    return {"cmd": [ns, func, kwargs, list(SERVER), cid]}


def example_messages() -> dict[str, dict[str, Any]]:
    """Return the messages of the dialogs that the document shows."""
    error = pack_error(ValueError("no such colour"), CLIENT, DEFAULT_LIMITS, lambda _: True)
    cancelled = pack_cancelled(
        SERVER, "its caller cancelled it", CLIENT, DEFAULT_LIMITS, lambda _: True
    )
    return {
        "call": call("add", {"a": 2, "b": 3}, "2"),
        "call-functype": {"functype": "asyncfunc", "cid": "2"},
        "call-return": {"return": 5, "cid": "2"},
        "call-with-extras": {
            **call("add", {}, "4"),
            "args": [2, 3],
            "deadline": 1.5,
            "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
        "stream-call": call("count", {"to": 2}, "6"),
        "stream-functype": {"functype": "asyncgen", "cid": "6"},
        "stream-item-1": {"yield": 1, "cid": "6"},
        "stream-item-2": {"yield": 2, "cid": "6"},
        "stream-credit": {"credit": 36, "cid": "6"},
        "stream-stop": {"stop": True, "cid": "6"},
        "cancel": call("cancel", {"cid": "8"}, "a", "self"),
        "cancel-functype": {"functype": "asyncfunc", "cid": "a"},
        "cancel-return": {"return": None, "cid": "a"},
        "cancelled": {"error": cancelled, "cid": "8"},
        "error": {"error": error, "cid": "c"},
        "large": {"return": extensions.Segment(bytes(65536)), "cid": "e"},
    }


def hexdump(data: bytes) -> str:
    """Return *data* as ``hexdump -C`` prints it: lines that repeat are one ``*``."""
    lines: list[str] = []
    last = None
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        if row == last and len(row) == 16:
            if lines[-1] != "*":
                lines.append("*")
            continue
        last = row
        digits = f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}"
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {digits}  |{text}|")
    return "\n".join([*lines, f"{len(data):08x}"]) + "\n"


def example_dumps(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return every example of the document by name, as text."""
    frames = shake_hands(monkeypatch)
    for name, message in example_messages().items():
        parts = Codec().encode(message, DEFAULT_LIMITS.max_message_bytes)
        frames[name] = b"".join(bytes(part) for part in parts)
    return {name: hexdump(frame) for name, frame in frames.items()}


def test_hexdumps_are_what_the_code_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = {b.words[1]: b.text for b in blocks_of(PROTOCOL) if b.language == "hexdump"}
    expected = example_dumps(monkeypatch)
    assert dumps.keys() == expected.keys()
    for name, text in expected.items():
        assert dumps[name] == text, f"{name} is\n{text}"


# --- the values -----------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: int
    y: int


def _app_types() -> TypeTable:
    table = TypeTable()
    for cls in (Colour, Mode, Point):
        cls.__module__ = "app"
        table.add_value(cls)
    return table


VALUES: dict[str, Any] = {
    "(1, 2)": (1, 2),
    "{7}": {7},
    "frozenset({7})": frozenset({7}),
    "1+2j": 1 + 2j,
    "2**64": 2**64,
    "-2**64": -(2**64),
    "UUID(int=1)": uuid.UUID(int=1),
    "datetime(2026, 1, 2, tzinfo=ZoneInfo('Asia/Tokyo'))": datetime.datetime(
        2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")
    ),
    "Path('/tmp')": pathlib.Path("/tmp"),
    "app.Colour.RED": Colour.RED,
    "app.Mode(3)": Mode.READ | Mode.WRITE,
    "app.Point(x=1, y=2)": Point(1, 2),
    "numpy.array([1, 2], dtype='<i2')": numpy.array([1, 2], dtype="<i2"),
    "numpy.float32(1)": numpy.float32(1),
}


def test_value_examples_are_what_the_code_sends() -> None:
    codec = Codec(types=_app_types())
    shown = {plain(row["value"]): plain(row["bytes"]) for row in table_under(PROTOCOL, "Examples")}
    expected = {name: codec.pack_nested(value).hex(" ") for name, value in VALUES.items()}
    assert {name: shown.get(name) for name in expected} == expected
    assert shown.keys() == expected.keys()


def test_extension_table_is_the_code() -> None:
    names = {name.lower().replace("_", " "): code for name, code in vars(extensions).items()
             if name.isupper() and name[0] != "_" and type(code) is int}  # fmt: skip
    shown = {row["name"]: int(row["code"]) for row in table_under(PROTOCOL, "Extension types")}
    assert shown == names


# --- the tables -----------------------------------------------------------------------------

KEY_OF: dict[type[Message], str] = {
    Functype: "functype",
    Started: "started",
    Item: "yield",
    Credit: "credit",
    Stop: "stop",
    Return: "return",
    ErrorReply: "error",
}


def states_under(heading: str) -> dict[str, dict[str, str]]:
    return {
        row.pop("state"): {plain(key): state for key, state in row.items() if state != "-"}
        for row in table_under(PROTOCOL, heading)
    }


def states_of(table: Any) -> dict[str, dict[str, str]]:
    return {
        state.value: {KEY_OF[message]: following.value for message, following in row.items()}
        for state, row in table.items()
    }


def test_every_kind_of_message_has_its_section() -> None:
    assert {*KEY_OF.values(), "cmd"} == messages._PARSERS.keys()
    headings = {plain(line.lstrip("# ")) for line in prose_of(PROTOCOL) if line.startswith("#")}
    assert messages._PARSERS.keys() <= headings


def test_callee_messages_are_those_of_the_callers_table() -> None:
    shown = states_under("What a callee may send")
    assert shown["asked"].pop("functype") == "by kind"
    assert shown == states_of(CALLER_TABLE)


def test_caller_messages_are_those_of_the_callees_table() -> None:
    assert states_under("What a caller may send") == states_of(CALLEE_TABLE)


def test_kinds_lead_to_the_states_of_the_code() -> None:
    rows = table_under(PROTOCOL, "Kinds of function")
    at_caller = {plain(row["functype"]): row["state at the caller"] for row in rows}
    at_callee = {plain(row["functype"]): row["state at the callee"] for row in rows}
    assert at_caller == {kind: state.value for kind, state in AFTER_FUNCTYPE.items()}
    assert at_callee == {kind: state.value for kind, state in CALLEE_START.items()}


# --- the numbers ----------------------------------------------------------------------------


def number(text: str) -> float:
    """Return the number in a cell such as ``64 KiB`` or ``0.25``."""
    units = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    figure, _, unit = text.partition(" ")
    return float(figure.replace(",", "")) * units[unit]


def test_limits_are_those_of_the_code() -> None:
    rows = [
        *table_under(PROTOCOL, "Limits that a peer meets"),
        *table_under(PROTOCOL, "Limits inside an actor"),
    ]
    names = [plain(row["limit"]) for row in rows]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(DEFAULT_LIMITS))
    shown = {plain(row["limit"]): number(row["default"]) for row in rows}
    assert shown == DEFAULT_LIMITS.as_map()


def test_fixed_numbers_are_those_of_the_code() -> None:
    rows = {row["what"]: plain(row["number"]) for row in table_under(PROTOCOL, "Fixed numbers")}
    expected = {
        "protocol version": handshake.PROTOCOL_VERSION,
        "bytes of a nonce": handshake.NONCE_BYTES,
        "bytes of a key": handshake.KEY_BYTES,
        "smallest size in a hello": handshake._MIN_PEER_FRAME_BYTES,
        "largest size in a hello": handshake._MAX_PEER_FRAME_BYTES,
        "characters of `ns`, `func` and `trace`, each": messages._MAX_NAME_CHARS,
        "digits of a cid": messages._MAX_CID_DIGITS,
        "largest `credit`": 2**48 - 1,
    }
    assert {what: number(text) for what, text in rows.items()} == expected
    limit = {"credit": 2**48 - 1, "cid": "1"}
    messages.parse_message(limit, None, 0)
    with pytest.raises(messages.RemoteProtocolError):
        messages.parse_message({**limit, "credit": 2**48}, None, 0)
