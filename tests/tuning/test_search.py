"""The search over kernels, with a measurer that computes its costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.tuning.database import FAILURES, open_database
from mncc.tuning.roofline import roofline
from mncc.tuning.search import Limits, Search, Trial
from mncc.tuning.share import PATIENCE
from mncc.tuning.task import Failure, FailureKind, Task, Tiles
from tests.tuning.fakes import PEAK, FakeMeasurer, machine_cost, predicted_seconds, tiny_tasks

DEFINITION = "these kernels"


def searched(
    folder: Path,
    measurer: FakeMeasurer,
    limits: Limits,
    watch: Callable[[Trial], None] = lambda trial: None,
    definition: str = DEFINITION,
    tasks: list[Task] | None = None,
    notes: list[str] | None = None,
    settling: float | None = None,
    incumbents: dict[str, Tiles] | None = None,
) -> Search:
    """A search of docs/tiny.mn's kernels in `folder`, run to its end."""
    tasks = tiny_tasks() if tasks is None else tasks
    keys = {task.name: f"key of {task.name}" for task in tasks}
    bounds = {task.name: roofline(task, measurer.unit, PEAK) for task in tasks}
    note = notes.append if notes is not None else pytest.fail
    with open_database(folder, definition, note) as database:
        search = Search(tasks, keys, bounds, measurer, database, definition, limits, watch, 1, incumbents)
        search.run()
        search.settle(settling)
    return search


def test_the_default_is_measured_first_and_better_tiles_are_found(tmp_path: Path) -> None:
    measurer = FakeMeasurer()
    search = searched(tmp_path, measurer, Limits(trials=72))
    for task in tiny_tasks():
        first = next(candidate for candidate in measurer.asked if candidate.task.name == task.name)
        assert first.tiles == task.default
    assert search.trials == 72
    ratios = [standing.ratio for standing in search.standings]
    assert all(ratio <= 1 for ratio in ratios) and min(ratios) < 0.9, ratios
    for standing in search.standings:
        assert standing.best_tiles is not None
        assert standing.best == machine_cost(standing.task, standing.best_tiles)


@pytest.mark.parametrize("trials", [8, 14, 24, 40])
def test_where_trials_are_few_every_kernel_has_some(tmp_path: Path, trials: int) -> None:
    """At least a choice beside its default, and never more for the one that has least to gain."""
    search = searched(tmp_path, FakeMeasurer(), Limits(trials=trials))
    spent = {standing.task.name: standing.spent for standing in search.standings}
    assert sum(spent.values()) == trials and min(spent.values()) >= 2
    assert spent["k04_conv2d"] == min(spent.values())


def test_where_trials_do_not_suffice_the_largest_kernels_have_them(tmp_path: Path) -> None:
    search = searched(tmp_path, FakeMeasurer(), Limits(trials=4))
    spent = {standing.task.name: standing.spent for standing in search.standings}
    assert spent == {"k00_conv2d": 0, "k01_bottleneck": 2, "k02_bottleneck": 2, "k04_conv2d": 0}
    assert {standing.done for standing in search.standings} == {"the trials are spent"}


def test_no_candidate_is_measured_twice_but_the_finalists(tmp_path: Path) -> None:
    measurer = FakeMeasurer(unit="instructions")
    searched(tmp_path, measurer, Limits(trials=64))
    seen = [(candidate.task.name, candidate.tiles) for candidate in measurer.asked]
    assert len(seen) == len(set(seen)) == 64


def test_a_second_run_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    first, second = FakeMeasurer(unit="instructions"), FakeMeasurer(unit="instructions")
    searched(tmp_path, first, Limits(trials=60))
    search = searched(tmp_path, second, Limits(trials=100))
    defaults = {(task.name, task.default) for task in tiny_tasks()}
    before = {(c.task.name, c.tiles) for c in first.asked}
    after = {(c.task.name, c.tiles) for c in second.asked}
    assert before & after <= defaults
    assert search.earlier == 60 and search.trials == 100
    assert sum(standing.spent for standing in search.standings) == 100


def test_what_an_earlier_run_found_counts_even_where_no_trial_is_left(tmp_path: Path) -> None:
    best = {s.task.name: s.best_tiles for s in searched(tmp_path, FakeMeasurer(), Limits(trials=80)).standings}
    again = FakeMeasurer(cost=lambda task, tiles: 2 * machine_cost(task, tiles))
    search = searched(tmp_path, again, Limits(trials=80))
    assert {s.task.name: s.best_tiles for s in search.standings} == best


def test_clocks_that_differ_from_run_to_run_change_no_ratio(tmp_path: Path) -> None:
    """The third of three runs knows of the first two what they knew."""
    task = tiny_tasks()[1]
    ratios: list[float] = []
    for clock, trials in ((1, 24), (2, 48), (1, 48)):
        measurer = FakeMeasurer(cost=lambda task, tiles, clock=clock: clock * machine_cost(task, tiles))  # type: ignore[misc]
        (standing,) = searched(tmp_path, measurer, Limits(trials=trials), tasks=[task]).standings
        assert standing.default == clock * machine_cost(task, task.default)
        ratios.append(standing.history[-1][1] / standing.default)
    assert ratios[2] == pytest.approx(min(ratios), rel=1e-6) and ratios[2] < 1


def test_trials_whose_costs_are_seconds_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version wrote them."""
    with monkeypatch.context() as before:
        before.setattr("mncc.tuning.evolution._BY_DEFAULT", "s")
        searched(tmp_path, FakeMeasurer(), Limits(trials=16))
    notes: list[str] = []
    search = searched(tmp_path, FakeMeasurer(), Limits(trials=16), notes=notes)
    assert search.earlier == 0 and notes[0].startswith("16 trials")


def test_what_a_table_has_is_a_finalist_and_measured_again_no_trial(tmp_path: Path) -> None:
    task = tiny_tasks()[1]
    measurer = FakeMeasurer()
    searched(tmp_path, measurer, Limits(trials=30), tasks=[task])
    tried = dict.fromkeys(c.tiles for c in measurer.asked if c.tiles != task.default)
    slow = max(tried, key=lambda tiles: machine_cost(task, tiles))
    again = FakeMeasurer()
    search = searched(tmp_path, again, Limits(trials=30), tasks=[task], incumbents={task.name: slow})
    assert sum(c.tiles == slow for c in again.asked) == 1 + 3
    assert search.trials == 30 and search.standings[0].spent == 30


def test_when_the_time_is_over_what_was_found_is_settled_once(tmp_path: Path) -> None:
    """Of a batch that is under way all are counted, and finalists have one heat."""
    measurer = FakeMeasurer()
    search = searched(tmp_path, measurer, Limits(seconds=0.0), settling=0.0)
    assert 0 < search.trials <= 16
    assert len(measurer.asked) <= search.trials + 2 * 4
    assert any(standing.default is not None for standing in search.standings)


def test_of_noisy_times_the_median_of_finalists_counts(tmp_path: Path) -> None:
    """What is measured for the first time seems fast in one case of five: it is not, and is not kept."""
    seen: set[Tiles] = set()

    def cost(task: Task, tiles: Tiles) -> float:
        lucky = tiles not in seen and tiles != task.default and len(seen) % 5 == 4
        seen.add(tiles)
        return (0.5 if lucky else 1.0) * predicted_seconds(task, tiles) * 3

    for standing in searched(tmp_path, FakeMeasurer(cost), Limits(trials=60)).standings:
        assert standing.ratio > 0.6


def test_a_kernel_without_gain_is_left_alone(tmp_path: Path) -> None:
    def default_is_best(task: Task, tiles: Tiles) -> float:
        return 1.0 if tiles == task.default else 2.0

    search = searched(tmp_path, FakeMeasurer(default_is_best), Limits())
    for standing in search.standings:
        assert standing.done in (f"no gain in {PATIENCE} trials", "every choice tried"), standing
        assert standing.best_tiles == standing.task.default and standing.ratio == 1.0


def test_where_all_candidates_fail_the_default_remains(tmp_path: Path) -> None:
    def only_default(task: Task, tiles: Tiles) -> float | Failure:
        return 1e-3 if tiles == task.default else Failure("crash", "ended by SIGSEGV")

    search = searched(tmp_path, FakeMeasurer(only_default), Limits(trials=64))
    for standing in search.standings:
        assert standing.best_tiles == standing.task.default and standing.failed == standing.spent - 1
    log = (tmp_path / FAILURES).read_text()
    assert log.count("crash on local") == 64 - len(search.standings) and "ended by SIGSEGV" in log


def test_what_was_lost_with_a_device_is_tried_again_by_another_run(tmp_path: Path) -> None:
    """What crashed is not."""

    def cost(task: Task, tiles: Tiles) -> float | Failure:
        return machine_cost(task, tiles) if tiles == task.default else Failure(kind, "gone")

    kind: FailureKind = "lost"
    searched(tmp_path, FakeMeasurer(cost), Limits(trials=24))
    kind = "crash"
    once = searched(tmp_path, FakeMeasurer(cost), Limits(trials=24))
    again = searched(tmp_path, FakeMeasurer(cost), Limits(trials=24))
    assert 0 < once.earlier <= len(tiny_tasks()) and again.earlier == 24


def test_where_the_default_fails_a_kernel_is_not_searched(tmp_path: Path) -> None:
    broken = tiny_tasks()[0].name

    def cost(task: Task, tiles: Tiles) -> float | Failure:
        failure = task.name == broken and tiles == task.default
        return Failure("wrong", "off by 1") if failure else machine_cost(task, tiles)

    search = searched(tmp_path, FakeMeasurer(cost), Limits(trials=64))
    standing = next(s for s in search.standings if s.task.name == broken)
    assert standing.done == "its default tiles fail" and standing.default is None


def test_trials_of_other_kernels_definitions_are_not_used(tmp_path: Path) -> None:
    searched(tmp_path, FakeMeasurer(), Limits(trials=40))
    notes: list[str] = []
    search = searched(tmp_path, FakeMeasurer(), Limits(trials=40), definition="others", notes=notes)
    assert search.earlier == 0 and len(notes) == 1 and notes[0].startswith("40 trials")


def test_the_learned_model_orders_better_than_the_cost_model_alone(tmp_path: Path) -> None:
    """The machine punishes what the cost model knows nothing of: register tiles wider than two vectors."""

    def cost(task: Task, tiles: Tiles) -> float:
        wide = max(tile.channels / tile.lanes for tile in getattr(tiles, "stages", ()))
        return machine_cost(task, tiles) * (1.5 if wide > 2 else 1.0)

    trials: list[tuple[str, float]] = []

    def watch(trial: Trial) -> None:
        ratio = (trial.outcome.cost or 0.0) / (trial.standing.default or 1.0)
        trials.append((trial.standing.task.name, ratio))

    searched(tmp_path, FakeMeasurer(cost), Limits(trials=160), watch=watch)
    early, late = (sorted(ratio for _, ratio in part)[len(part) // 2] for part in (trials[:40], trials[-40:]))
    assert late < early
