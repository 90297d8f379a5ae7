"""The hash of what generates kernels: it covers that, and comments are not part of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mncc.backend import KernelFunction
from mncc.backend.definition import PACKAGE, SOURCES, code_of, definition, syntax_of
from mncc.kernels.chain import Chain, ChainTiles, Stage
from mncc.kernels.target import load_target
from mncc.kernels.tiles import ConvTile

FILES = {path.relative_to(PACKAGE).as_posix() for pattern in SOURCES for path in PACKAGE.glob(pattern)}
DECIDE_NO_CODE = {
    "kernels/plain.py",  # a family without knobs
    "kernels/precision.py",  # names of types
    "kernels/target.py",  # whose facts have a hash of their own
    "kernels/tunable.py",  # names of types
    "language/diagnostic.py",
    "network/ops/__init__.py",
    "network/ops/_rules.py",
    "network/ops/base.py",
    "network/types.py",
    "network/window.py",
    "plan/model.py",  # which kernels there are, not what one is
}


def imported(file: str) -> set[str]:
    """The files of mncc that a file imports from, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mncc."):
            path = node.module.removeprefix("mncc.").replace(".", "/")
            found.add(f"{path}.py" if (PACKAGE / f"{path}.py").exists() else f"{path}/__init__.py")
    return found


def test_whatever_generates_code_is_covered() -> None:
    """A file that is imported is one of SOURCES, or of those above that decide no code."""
    assert {"schedules/chain.py", "schedules/winograd.py", "backend/lower.py"} <= FILES
    for file in FILES:
        assert imported(file) <= FILES | DECIDE_NO_CODE, file


def test_without_sources_nothing_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All installations without them would agree."""
    monkeypatch.setattr("mncc.backend.definition.PACKAGE", tmp_path)
    with pytest.raises(FileNotFoundError, match="lacks its sources"):
        definition.__wrapped__()


CODE = '''
"""A module."""

X = 3
"""Why three."""


def f(a: int, *, b: str = "x") -> int:
    """Adds."""
    return a + len(f"{b!r:>{a}}")  # so
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [("# so", "# and so"), ("A module.", "A file."), ('"""Adds."""\n', '"""Sums."""\n\n'), ("Why three", "Because")],
)
def test_words_do_not_count(old: str, new: str) -> None:
    assert old in CODE and syntax_of(CODE.replace(old, new)) == syntax_of(CODE)


@pytest.mark.parametrize(("old", "new"), [("X = 3", "X = 4"), ("a + len", "a - len"), ('"x"', '"y"'), ("!r", "!s")])
def test_code_counts(old: str, new: str) -> None:
    assert old in CODE and syntax_of(CODE.replace(old, new)) != syntax_of(CODE)


def test_what_is_written_is_the_same_for_all_pythons() -> None:
    """Pythons differ in fields that are empty, which are left out."""
    assert syntax_of("def f(): return -x") == (
        "(Module body=[(FunctionDef args=(arguments) body=[(Return value=(UnaryOp op=(USub) operand=(Name id='x')))]"
        " name='f')])"
    )


def test_it_is_short_and_stays() -> None:
    assert len(definition()) == 24 and definition() == definition()


def test_the_code_of_a_kernel_depends_on_its_tiles_and_on_the_target() -> None:
    chain, tile = Chain(4, 4, 8, (Stage("conv", 4, 4, 8),)), ConvTile(1, 4, 8, 8)
    one = KernelFunction(chain, ChainTiles(4, 4, "rows", (tile,)), (True, True))
    other = KernelFunction(chain, ChainTiles(2, 2, "rows", (tile,)), (True, True))
    v3 = load_target("x86-64-v3")
    assert code_of(one, v3) == code_of(one, v3) != code_of(other, v3) != code_of(other, load_target("x86-64-v4"))
