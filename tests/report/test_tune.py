"""What `mncc tune` shows on a terminal, and what it says of a trial."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
from rich.console import Console

from mncc.report.tune import TuneView, clock_text, network_ratio, trial_line
from mncc.tuning.search import Trial
from mncc.tuning.share import Standing
from mncc.tuning.task import Candidate, Failure, Outcome
from tests.tuning.fakes import tiny_tasks


@dataclass
class Searched:
    """As much of a search as a view looks at."""

    standings: tuple[Standing, ...]
    trials: int = 3
    earlier: int = 0
    seconds: float = 65.0


def standings() -> tuple[Standing, ...]:
    """Two kernels: one with better tiles, one that is finished."""
    first, second = tiny_tasks()[:2]
    better = Standing(first, bound=8e-6, default=10e-6, best=9e-6, best_tiles=first.default, spent=3, failed=1)
    return better, Standing(second, default=30e-6, best=30e-6, spent=41, done="no gain in 40 trials")


def test_a_terminal_gets_a_table_of_all_kernels_that_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=140, highlight=False)
    monkeypatch.setattr("mncc.report.tune.err", lambda: terminal)
    monkeypatch.setattr("mncc.report.tune.REDRAWN", 0.0)
    better, done = standings()
    with TuneView(Searched((better, done)), "s", 600.0, None) as view:  # type: ignore[arg-type]
        outcome = Outcome(Candidate(better.task, better.task.default), 9e-6, None, "local")
        view.show(Trial(3, outcome, better, True, 1.0))
    text = written.getvalue()
    assert text.count("3 trials, 2.5 % less than the default tiles so far, 8:55 left") >= 2
    for cell in ("k00_conv2d", "9 us", "0.900", "88.9 %", "no gain in 40 trials"):
        assert cell in text
    assert text.rstrip().endswith("\x1b[2K")


def test_a_failure_is_told_in_one_line() -> None:
    better, _ = standings()
    failure = Failure("crash", "ended by SIGSEGV\nframe 0\nframe 1")
    trial = Trial(7, Outcome(Candidate(better.task, better.task.default), None, failure, "local"), better, False, 1.0)
    assert trial_line(trial, "s") == "trial 7: k00_conv2d: a candidate failed (crash): ended by SIGSEGV"


def test_the_network_counts_kernels_as_often_as_it_has_them() -> None:
    assert network_ratio(standings()) == pytest.approx(39 / 40)
    assert network_ratio(()) == 1.0


def test_time_that_is_over_is_zero() -> None:
    assert (clock_text(725.4), clock_text(-3.0)) == ("12:05", "0:00")
