"""The house rules on imports that import-linter cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tvm", "tvm_ffi", "torch")
TINY = ROOT / "docs" / "tiny.mn"


def top_level_imports(tree: ast.Module) -> Iterator[str]:
    """What importing a module imports: everything outside of functions and `if TYPE_CHECKING`."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


@pytest.mark.parametrize("path", sorted((ROOT / "mncc" / "network").rglob("*.py")), ids=lambda path: path.stem)
def test_operators_import_tvm_and_torch_inside_functions(path: Path) -> None:
    imported = {name.split(".")[0] for name in top_level_imports(ast.parse(path.read_text(encoding="utf-8")))}
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("command", ["check", "cost", "cost --json", "emit --stage plan", "targets", "--help"])
def test_light_commands_load_neither_tvm_nor_torch(command: str) -> None:
    word, *options = command.split()
    arguments = [word, str(TINY), *options] if word in ("check", "cost", "emit") else [word]
    program = (
        "import sys\n"
        "from mncc.cli import main\n"
        f"status = main({arguments!r})\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'loaded {loaded}' if loaded else status)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_mncc_imports_nothing() -> None:
    program = "import sys, mncc; sys.exit(sum(name.startswith('mncc.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
