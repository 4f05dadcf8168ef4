"""The house keeps its shape: arrows point down, and the ground floor stays pure."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "actorsys"
FLOORS = [
    "memory",
    "cuda",
    "wire",
    "transport",
    "channel",
    "buffers",
    "actor",
    "devices",
    "bridges",
    "topics",
    "spawn",
    "supervise",
    "routing",
    "pools",
    "kernels",
    "carriers",
    "testing",
]
"""Ground to roof; what is in `FOUNDATION` lies under all of them."""

FOUNDATION = {"errors", "limits", "histogram"}
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
MAX_FUNCTION_LINES = 60


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms_in_the_design() -> dict[str, set[str]]:
    """Return the modules that docs/design.md lists, by floor; the foundation is one of them."""
    text = (PACKAGE.parent / "docs" / "design.md").read_text()
    rooms: dict[str, set[str]] = {}
    floor = ""
    for line in text.split("```\n")[1].splitlines():
        floor = floor if line.startswith(" ") else line.split()[0]
        names = line.removeprefix(floor).strip()
        names = re.sub(r" {3,}.*", "", names)  # behind the gap stands what a floor is for
        rooms.setdefault(floor, set()).update(re.findall(r"\w+", names))
    return rooms


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports_of(path: Path) -> set[str]:
    """Return the absolute names of what a module imports at run time."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found: set[str] = set()
    for node in runtime_nodes(parse(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return every node that is not under `if TYPE_CHECKING`."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        nodes.append(child)
        nodes += runtime_nodes(child)
    return nodes


def floor_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "actorsys" else None


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_arrows_point_down(path: Path) -> None:
    floor = floor_of(module_name(path))
    if floor is None:
        return
    below = set() if floor in FOUNDATION else {*FLOORS[: FLOORS.index(floor) + 1], *FOUNDATION}
    below |= {floor}
    for imported in imports_of(path):
        target = floor_of(imported)
        if target in FLOORS or target in FOUNDATION:
            assert target in below or floor in FOUNDATION, f"{floor} imports {imported}"


def test_no_import_circles() -> None:
    names = {module_name(path) for path in MODULES}
    # A package's __init__ gathers its modules; a module that imports its package's siblings
    # directly does not depend on the gathering.
    graph = {
        module_name(path): {n for n in imports_of(path) if n in names and n != module_name(path)}
        for path in MODULES
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name in done:
            return
        for following in graph.get(name, ()):
            visit(following, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", sorted((PACKAGE / "wire").glob("*.py")), ids=module_name)
def test_the_wire_does_no_io(path: Path) -> None:
    forbidden = {"trio", "socket", "time", "asyncio", "threading", "select", "subprocess"}
    assert not {name.partition(".")[0] for name in imports_of(path)} & forbidden


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports_of(path)} & FORBIDDEN_MODULES
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "__import__"}
            # The one exec runs the script that the parent runs as well; see its docstring.
            assert node.func.id != "exec" or path.name == "importing.py"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_spawn_floor_imports_by_name(path: Path) -> None:
    if floor_of(module_name(path)) != "spawn":
        assert "importlib" not in {name.partition(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_can_be_seen_whole(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parse(path)), "no docstring"


@pytest.mark.parametrize("floor", FLOORS)
def test_the_design_shows_every_room(floor: str) -> None:
    found = {path.stem for path in (PACKAGE / floor).iterdir() if not path.name.startswith("_")}
    assert rooms_in_the_design()[floor] == found


def test_numpy_and_cupy_are_imported_only_when_used() -> None:
    heavy = ("numpy", "cupy", "asyncio")
    code = f"import sys, actorsys; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert result.stdout.strip() == "[]"
