"""Every way to fail has its status and its words, and none a traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mncc.language.diagnostic import Diagnostic, DiagnosticError, OutsideError
from mncc.report.failures import UsageError, guarded


@dataclass(frozen=True)
class Odd(Diagnostic):
    @property
    def title(self) -> str:
        return "seven is odd"

    @property
    def help(self) -> str:
        return "write 8"


def raising(error: BaseException) -> Callable[[], object]:
    def program() -> object:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (DiagnosticError([Odd(), Odd()]), 1, ["error: seven is odd\nhelp: write 8\n\nerror: seven is odd"]),
        (UsageError("--set x", "name=value"), 2, ["error: --set x", "help: name=value"]),
        (OutsideError("no compiler", "install one"), 3, ["error: no compiler", "help: install one"]),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.so"), 3, ["x.so: No space left", "help: free some"]),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "x.so"), 3, ["x.so: Read-only", "help: that disk"]),
        (MemoryError(), 3, ["memory"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (SystemExit(130), 130, ["interrupted"]),
        (SystemExit(2), 2, []),
        (SystemExit(None), 0, []),
        (ValueError("seven"), 3, ["this is a bug in mncc: ValueError: seven", "MNCC_DEBUG=1"]),
    ],
)
def test_status_and_words(
    error: BaseException, status: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error)) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    for word in words:
        assert word in printed.err
    assert "Traceback" not in printed.err
    assert "\x1b" not in printed.err


def test_a_bug_shows_its_traceback_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNCC_DEBUG", "1")
    assert guarded(raising(ValueError("seven"))) == 3
    assert "Traceback" in capsys.readouterr().err


def test_what_a_program_answers_is_its_status() -> None:
    assert guarded(lambda: None) == 0
    assert guarded(lambda: 1) == 1
