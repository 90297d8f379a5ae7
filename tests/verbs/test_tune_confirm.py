"""Which tiles remain behind a search, with a network whose times are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from mncc.devices.process import Local
from mncc.kernels.space import knobs, neighbours
from mncc.kernels.tuned import TunedKernel
from mncc.report.progress import Progress
from mncc.verbs import tune_confirm
from mncc.verbs.job import Job, prepare
from mncc.verbs.tune_confirm import Contest
from mncc.verbs.tune_whole import Whole

TINY = Path(__file__).parents[2] / "docs" / "tiny.mn"
Times = Callable[[int, str], float]
"""By the number of the measurement, and whose tiles a kernel has."""


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare(TINY, {}, "x86-64-v3", tuned="none")


def kernels(job: Job, name: str, number: int, unit: Literal["s", "instructions"] = "s") -> dict[Any, TunedKernel]:
    """The `number`-th neighbours of the default tiles, for every kernel that has them; `name` is the device's."""
    found = {}
    for kernel in job.plan().kernels:
        if not knobs(kernel.spec, job.target):
            continue
        near = [tiles for _, tiles in neighbours(kernel.spec, job.target, kernel.tiles)]  # type: ignore[arg-type]
        if len(near) > number:
            found[kernel.spec] = TunedKernel(
                kernel.spec,  # type: ignore[arg-type]
                near[number],
                unit,
                1e-6,
                2e-6,
                name,
                "a processor",
                "2026-11-22",
                9,
            )
    return found


def decided(
    monkeypatch: pytest.MonkeyPatch,
    contest: Contest,
    specs: Sequence[Any],
    times: Times,
    drifts: Sequence[float] = (),
    beside: float = 0.0,
) -> int:
    """Lets it decide where the network takes `times` for each of its kernels, and with tuned tiles `beside` more;
    `drifts` are those of the first measurements, and 0 behind them. Answers how often it measured."""
    measured: list[int] = []

    def measure(jobs: Sequence[Job], *_: object) -> tuple[Whole, ...]:
        measured.append(len(jobs))
        wholes = []
        for each in jobs:
            table = each.tuned[each.target.name].kernels if each.tuned else {}
            names = [table[k.spec].device if k.spec in table else "default" for k in each.plan().kernels]  # type: ignore[index]
            taken = tuple(times(len(measured), name) for name in names)
            drift = drifts[len(measured) - 1] if len(measured) <= len(drifts) else 0.0
            wholes.append(Whole(sum(taken) + (beside if table else 0.0), taken, drift))
        return tuple(wholes)

    monkeypatch.setattr(tune_confirm, "measure_in_turn", measure)
    with Progress() as progress:
        contest.decide(specs, progress)
    return len(measured)


def contest_of(
    job: Job, found: dict[Any, TunedKernel], before: dict[Any, TunedKernel], counted: bool = False
) -> Contest:
    return Contest(job, Local(), found, before, frozenset({**found, **before}), counted)


def test_a_table_s_tiles_remain_where_those_found_are_no_faster(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    found, before = kernels(job, "found", 0), kernels(job, "before", 1)
    contest = contest_of(job, dict(found), before)
    decided(monkeypatch, contest, [*found], lambda _, name: {"default": 1.0, "found": 0.9, "before": 0.8}[name])
    assert {spec: contest.chosen[spec] for spec in before} == before
    assert all(contest.costs[spec][1] < 0.85 * contest.costs[spec][0] for spec in before)
    assert {contest.states[spec] for spec in before} == {tune_confirm.EARLIER}


def test_what_beats_a_table_s_tiles_replaces_them(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    found, before = kernels(job, "found", 0), kernels(job, "before", 1)
    contest = contest_of(job, dict(found), before)
    decided(monkeypatch, contest, [*found], lambda _, name: {"default": 1.0, "found": 0.8, "before": 0.9}[name])
    assert contest.chosen == found


def test_where_the_device_drifts_the_network_is_measured_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was while the device drifted counts for nothing."""
    found, before = kernels(job, "found", 0), kernels(job, "before", 1)
    contest = contest_of(job, dict(found), before)
    seen = {"default": 1.0, "found": 0.8, "before": 0.9}
    times = decided(monkeypatch, contest, [*found], lambda n, name: seen[name] if n > 2 else 1.0, drifts=(0.2, 0.1))
    assert contest.chosen == found and contest.drifted is None
    assert times == 3


def test_where_the_device_drifts_on_nothing_new_is_kept_and_nothing_given_up(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of a table's tiles, even where they seem to lose to everything, nor of those that have no rival."""
    found, before = kernels(job, "found", 0), kernels(job, "before", 1)
    del before[next(iter(before))]
    contest = contest_of(job, dict(found), before)
    seen = {"default": 1.0, "found": 0.8, "before": 1.2}
    times = decided(monkeypatch, contest, [*found], lambda _, name: seen[name], drifts=(0.2, 0.07, 0.1))
    assert contest.chosen == before and contest.drifted == 0.07
    for spec in found:
        state = tune_confirm.DRIFTED if spec in before else tune_confirm.DRIFTED_DEFAULT
        assert contest.states[spec] == state
    assert times == 3 + 1
    assert all(contest.costs[spec] == (1.0, 1.2) for spec in before)


def test_of_a_device_that_drifts_later_nothing_new_is_kept(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """While losers drop out."""
    found = kernels(job, "found", 0)
    loser = next(iter(found))
    found[loser] = replace(found[loser], device="loses")
    contest = contest_of(job, dict(found), {})
    ratios = {"default": 1.0, "found": 0.8, "loses": 1.1}
    decided(monkeypatch, contest, [*found], lambda _, name: ratios[name], drifts=(0.0, 0.2, 0.2, 0.2))
    assert contest.chosen == {} and contest.drifted == 0.2
    assert contest.states[loser] == tune_confirm.DEFAULT_FASTER
    assert {contest.states[spec] for spec in found if spec != loser} == {tune_confirm.DRIFTED_DEFAULT}


def test_all_rows_are_of_the_last_measurement(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kernels(job, "found", 0)
    loser = next(iter(found))
    found[loser] = replace(found[loser], device="loses")
    contest = contest_of(job, dict(found), {})
    ratios = {"default": 1.0, "found": 0.8, "loses": 0.999}
    decided(monkeypatch, contest, [*found], lambda number, name: ratios[name] * number)
    assert loser not in contest.chosen and contest.states[loser] == tune_confirm.NO_MEASURABLE_GAIN
    times = sum(kernel.spec == loser for kernel in job.plan().kernels)
    assert contest.costs[loser] == (2.0 * times, 2.0 * times)
    assert sum(contest.wholes[0].kernels) == 2.0 * len(job.plan().kernels)


def test_a_kernel_that_was_not_reached_has_the_table_s_tiles(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernels(job, "before", 0)
    contest = Contest(job, Local(), {}, before, frozenset(), False)
    decided(monkeypatch, contest, [*before], lambda _, name: 1.0)
    assert contest.chosen == before
    assert set(contest.states.values()) == {tune_confirm.NOT_REACHED_TUNED}
    nothing = Contest(job, Local(), {}, {}, frozenset(), False)
    decided(monkeypatch, nothing, [*before], lambda _, name: 1.0)
    assert not nothing.chosen and set(nothing.states.values()) == {tune_confirm.NOT_REACHED}


def test_instructions_decide_nothing_over_what_was_timed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    found, before = kernels(job, "found", 0, "instructions"), kernels(job, "before", 1)
    contest = contest_of(job, dict(found), before, counted=True)
    decided(monkeypatch, contest, [*found], lambda _, name: {"default": 1.0, "found": 0.8, "before": 1.1}[name])
    assert {spec: contest.chosen[spec] for spec in before} == before
    assert {contest.states[spec] for spec in before} == {tune_confirm.TIMED}


def test_where_the_network_gains_nothing_what_is_new_is_given_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kernel may be faster by itself, and all of them together not; tiles of a table stay."""
    found = kernels(job, "new", 0)
    contest = contest_of(job, dict(found), {})
    decided(monkeypatch, contest, list(found), lambda _, name: 0.9 if name == "new" else 1.0, beside=9.0)
    assert contest.chosen == {} and set(contest.states.values()) == {tune_confirm.NETWORK_SLOWER}
    assert contest.wholes[0].total == contest.wholes[1].total
    before = kernels(job, "old", 1)
    contest = contest_of(job, {}, before)
    decided(monkeypatch, contest, list(before), lambda _, name: 0.9 if name == "old" else 1.0, beside=9.0)
    assert set(contest.chosen) == set(before)
