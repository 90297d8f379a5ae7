"""What `mncc tune` shows on a terminal, and what it says of a trial."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mncc.report.console import show
from mncc.report.tune import (
    KernelGain,
    TuneReport,
    TuneView,
    clock_text,
    network_ratio,
    standings_table,
    trial_line,
)
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
    phase: str = ""


def standings() -> tuple[Standing, ...]:
    """Two kernels: one with better tiles, one that is finished."""
    first, second = tiny_tasks()[:2]
    better = Standing(first, bound=8e-6, default=10e-6, best=9e-6, best_tiles=first.default, spent=3, failed=1)
    return better, Standing(second, default=30e-6, best=30e-6, spent=41, done="no gain in 100 trials")


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
    for cell in ("k00_conv2d", "9 us", "10.0 %", "88.9 %", "no gain in 100 trials"):
        assert cell in text
    assert text.rstrip().endswith("\x1b[2K")


def drawn(width: int, height: int, standings: Sequence[Standing]) -> list[str]:
    """The lines of a table on a terminal of that size."""
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(standings_table("so far", standings, "s", width, height))
    return capture.get().splitlines()


def many_standings(many: int) -> list[Standing]:
    """Every other one is finished; the later ones take longer."""
    better, done = standings()
    return [
        replace(each, task=replace(each.task, name=f"k{n:02}_bottleneck"), best=each.best * (1 + n / 100))
        for n, each in enumerate([better, done] * (many // 2))
        if each.best
    ]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_on_a_narrow_terminal_columns_are_left_out_and_none_is_cut_short(width: int) -> None:
    lines = drawn(width, 60, many_standings(6))
    assert not any("…" in line for line in lines) and max(map(len, lines)) <= width
    for column in ("best", "gain", "roofline", "trials"):
        assert column in lines[2]
    assert ("times" in lines[2]) == (width == 120)
    assert drawn(width, 60, [Standing(task) for task in tiny_tasks()])[2].split() == lines[2].split()
    assert sum("k0" in line for line in lines) == 6


def test_on_a_low_terminal_kernels_that_are_searched_come_before_those_that_are_finished() -> None:
    many = many_standings(22)
    lines = drawn(80, 20, many)
    shown = [line.split()[0] for line in lines if "_bottleneck" in line]
    open_ones = [standing.task.name for standing in many if not standing.done]
    assert len(lines) < 20 and shown == [*open_ones, many[-1].task.name]
    assert any(line.startswith(" and 10 more") for line in lines)


def test_without_a_terminal_a_phase_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    searched = Searched(standings())
    with TuneView(searched, "s", 600.0, None) as view:  # type: ignore[arg-type]
        for phase in ("measuring the fastest again, 1 of 3",) * 3 + ("measuring the fastest again, 2 of 3",):
            searched.phase = phase
            view.tell_phase()
    told = [line for line in capsys.readouterr().err.splitlines() if "again" in line]
    assert told == ["measuring the fastest again, 1 of 3", "measuring the fastest again, 2 of 3"]


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


def test_instructions_are_called_so_wherever_no_title_does() -> None:
    better, _ = standings()
    counted = replace(better, default=46_430.0, best=46_430.0, bound=27_650.0)
    outcome = Outcome(Candidate(better.task, better.task.default), 46_430.0, None, "qemu")
    line = "46.43 k instructions with the default tiles, roofline 27.65 k instructions"
    assert trial_line(Trial(1, outcome, counted, True, 1.0), "instructions").endswith(line)


def report(kept: bool, **facts: Any) -> TuneReport:
    """Of a search by instructions, with one kernel."""
    costs = (46_430.0, 46_000.0, 46_430.0, 46_000.0)
    kernel = KernelGain("k00_conv2d", 1, *costs, kept, "tuned" if kept else "keeps its default", None, 8, 0, "")
    whole = (464_300.0, 463_870.0 if kept else 464_300.0)
    places = (Path("tuned.json"), Path("search"))
    return TuneReport("tiny", "arm64", "qemu", "instructions", (kernel,), *whole, 8, 0, 65.0, None, *places, **facts)


def test_the_last_lines_say_what_was_gained_and_where_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    show(*report(kept=True).tables())
    told = capsys.readouterr().out
    assert "tiny for arm64 on qemu, kernels in the whole network, in instructions\n" in told
    whole = "464.3 k instructions with default tiles, 463.9 k instructions with tuned ones: 0.1 % gained by 1 kernel"
    assert f"the whole network: {whole}\n" in told
    assert told.endswith("tuned tiles are in tuned.json, which `mncc build` uses; trials are in search\n")


def test_where_nothing_was_gained_the_last_lines_say_so() -> None:
    lines = report(kept=False, drifted=0.081).verdict().splitlines()
    assert lines[0] == "the whole network: 464.3 k instructions with default tiles; no others were kept"
    assert lines[2] == "trials are in search"
    assert "drifted by 8.1 %: nothing new was kept; the same command measures it again" in lines[3]
