"""The progress line keeps silent for what is short."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mncc.report import console, progress
from mncc.report.progress import Progress


def use(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    stream = io.StringIO()
    made = Console(file=stream, force_terminal=terminal, width=80)
    for module in (console, progress):
        monkeypatch.setattr(module, "err", lambda: made)
    return stream


@pytest.mark.parametrize("terminal", [False, True])
def test_short_work_says_nothing(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    stream = use(monkeypatch, terminal)
    with Progress(patience=60) as say:
        say("compiling", 0.5)
    assert stream.getvalue() == ""


def test_long_work_in_a_file_is_a_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = use(monkeypatch, terminal=False)
    with Progress(patience=0) as say:
        for step in range(50):
            say(f"compiling {step}", step / 50)
    lines = stream.getvalue().splitlines()
    assert 1 <= len(lines) <= 2
    assert "\x1b" not in stream.getvalue()


def test_a_plain_line_has_no_share_before_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = use(monkeypatch, terminal=False)
    with Progress(patience=0) as say:
        say("planning", 0.0)
    assert stream.getvalue() and "%" not in stream.getvalue()


def test_long_work_on_a_terminal_is_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = use(monkeypatch, terminal=True)
    with Progress(patience=60) as say:
        assert say._timer is not None
        say._appear()
        say("compiling", 0.25)
    assert "compiling" in stream.getvalue()
    assert "\x1b[2K" in stream.getvalue(), "the line is erased at the end"
