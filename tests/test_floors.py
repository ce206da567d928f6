"""The house rules: imports go down, files and functions keep to their budgets."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("compiler", "runtime", "graphflow", "tests", "examples")
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")
               if not (folder == "graphflow" and p.relative_to(ROOT).parts[1] in ("compiler", "runtime")))

# lowest first; a module may import from its own floor and those below
FLOORS = [("compiler.digests", "compiler.errors", "compiler.flags", "compiler.late", "compiler.records",
           "compiler.target"),
          ("compiler.ir",), ("compiler.loops",),
          ("compiler.program", "compiler.placement", "compiler.signature"), ("compiler.ops",),
          ("compiler.oracle", "compiler.autodiff"), ("compiler.codegen", "compiler.passes"),
          ("compiler.pipeline", "compiler.fingerprint", "compiler.codec"), ("runtime",), ("",)]


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[1:] if parts[0] == "graphflow" else parts).removesuffix(".__init__")


def floor(module: str) -> int:
    return next(k for k, names in enumerate(FLOORS)
                if any(n == "" or module == n or module.startswith(n + ".") for n in names))


def imported(tree: ast.AST) -> list[tuple[str, int]]:
    """The graphflow modules that a file imports, inside functions too, with their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("graphflow"):
            module = node.module.removeprefix("graphflow").lstrip(".")
            holds_modules = module in ("compiler", "compiler.ops")
            names = [f"{module}.{a.name}" for a in node.names] if holds_modules else [module]
            found += [(name, node.lineno) for name in names]
        elif isinstance(node, ast.Import):
            found += [(a.name.removeprefix("graphflow").lstrip("."), node.lineno) for a in node.names
                      if a.name.split(".")[0] == "graphflow"]
    return found


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[len(ROOT.parts)] in ("compiler", "runtime")],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_or_sideways(path: Path) -> None:
    here = floor(module_name(path))
    tree = ast.parse(path.read_text())
    for module, line in imported(tree):
        assert floor(module) <= here, f"{path}:{line} imports {module or 'graphflow'} from a higher floor"


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[len(ROOT.parts)] == "compiler"],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_the_compiler_is_pure(path: Path) -> None:
    names = {a.name.split(".")[0] for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Import) for a in node.names}
    assert not names & {"numba", "llvmlite", "time", "threading", "subprocess"} - (
        {"threading"} if path.name == "graph.py" else set())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_budgets(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) <= 500, f"{path} has {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        assert len(line) <= 110, f"{path}:{number} is {len(line)} characters wide"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_each_half_refuses_a_second_name() -> None:
    for name in ("compiler", "runtime"):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT,
                              capture_output=True, text=True)
        assert done.returncode == 1
        assert f"import graphflow.{name}" in done.stderr
