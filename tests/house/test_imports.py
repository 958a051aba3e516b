"""Imports go down only, and each tool has one door (see docs/explanation/architecture.md)."""

import ast
from pathlib import Path

import pytest

import ipex_pd

ROOT = Path(ipex_pd.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
# The floor of each room; a room imports only from lower floors and from itself.
FLOORS = {
    "errors": 0,
    "units": 0.5,
    "records": 1,
    "equations": 1,
    "numerics": 2,
    "simulation": 3,
    "planning": 4,
    "inference": 4,
    "report": 5,
    "exchange": 5,
    "cli": 6,
}
DOORS = {
    "pint": ["units.py"],
    "diffrax": ["numerics/stiff.py"],
    "optax": ["numerics/optimiser.py"],
    "yaml": ["records/"],
    "matplotlib": ["report/"],
    "jinja2": ["report/"],
    "typer": ["cli/"],
    "rich": ["cli/"],
    "sympy": ["equations/", "numerics/compiler.py"],
    "jax": ["numerics/", "simulation/", "planning/", "inference/"],
    "pydantic": ["records/"],
}


def imports(path: Path) -> set[str]:
    """Every module a file imports, also inside functions; what only type checkers see is left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found.add(module)
            if module == "ipex_pd":
                found.update(f"ipex_pd.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) != "__init__"], ids=name)
def test_imports_go_down(path):
    own = room(path)
    assert own in FLOORS, f"`{own}` has no floor"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "ipex_pd" and len(parts) > 1 and parts[1] in FLOORS and parts[1] != own:
            assert FLOORS[parts[1]] < FLOORS[own], f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_each_tool_has_one_door(path):
    for module in imports(path):
        allowed = DOORS.get(module.split(".")[0])
        if allowed is not None:
            assert any(name(path).startswith(door) for door in allowed), f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_star_imports(path):
    assert not any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
