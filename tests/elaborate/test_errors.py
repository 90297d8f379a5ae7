"""Every diagnostic in its own file: errors/CASE.mn, and what it prints in errors/CASE.err."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mncc.elaborate.errors
import mncc.elaborate.shape_errors
import mncc.language.errors
import mncc.language.row_errors
from mncc.elaborate import load
from mncc.language.diagnostic import Diagnostic, DiagnosticError

FOLDER = Path(__file__).parent / "errors"
CASES = sorted(path.stem for path in FOLDER.glob("*.mn"))


def reported(case: str) -> tuple[Diagnostic, ...]:
    """What a case reports. Its first line may say settings: `# set: width=0.5`."""
    path = Path(f"{case}.mn")
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    settings = dict(word.split("=", 1) for word in first.split()[2:]) if first.startswith("# set:") else {}
    with pytest.raises(DiagnosticError) as caught:
        load(path, settings)
    return caught.value.diagnostics


@pytest.mark.parametrize("case", CASES)
def test_diagnostic(case: str, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    text = "\n\n".join(diagnostic.render() for diagnostic in reported(case))
    golden(FOLDER / f"{case}.err", text + "\n")


def test_five_mistakes_give_five_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    assert len(reported("five_mistakes")) == 5


def subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


# Bases, and what needs a file that a text file beside this test cannot be (see test_load.py).
ELSEWHERE = {"AtSpan", "RowError", "NotFound", "Unreadable", "NotText", "TooLarge"}


def test_every_error_is_frozen_and_has_a_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    modules = {
        m.__name__
        for m in (mncc.language.errors, mncc.language.row_errors, mncc.elaborate.errors, mncc.elaborate.shape_errors)
    }
    errors = {kind for kind in subclasses(Diagnostic) if kind.__module__ in modules}
    assert all(dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen for kind in errors)  # type: ignore[attr-defined]
    shown = {type(diagnostic).__name__ for case in CASES for diagnostic in reported(case)}
    assert {kind.__name__ for kind in errors} - shown - ELSEWHERE == set()
