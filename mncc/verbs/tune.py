"""`mncc tune`: searches the tiles of a network's kernels on a device, and keeps what is better in the whole network."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mncc.kernels.space import knobs
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.report.console import say, warn
from mncc.report.failures import UsageError
from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.tune import KernelGain, TuneReport, TuneView
from mncc.verbs.job import Job, as_usage, require_one_target
from mncc.verbs.loading import check_device
from mncc.verbs.tune_whole import Facts, Whole, facts_of, measure_in_turn

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.kernels.target import Target
    from mncc.kernels.tuned import Stamp, TunedKernel
    from mncc.tuning.search import Limits, Search, Trial
    from mncc.tuning.share import Standing
    from mncc.tuning.task import Task, Unit

MINUTES = 30.0
"""Of a search where nothing else is said."""
NO_GAIN = 0.003
"""Of a time: tuned tiles that gain less in the network are left out, for nobody could measure that again."""
HEATS = 3
"""How often the network is measured again with what has not lost, at most."""
SETTLING = 0.1
"""Of the minutes, what is kept for measuring finalists again."""


@dataclass(frozen=True)
class Places:
    """Where what is found goes: the table that builds use, and the folder of the database."""

    table: Path
    database: Path


def parse_devices(text: str) -> tuple[Device, ...]:
    """`ssh://a,ssh://b` as devices. Raises UsageError."""
    from mncc.devices.find import find_devices

    try:
        return find_devices(text)
    except DiagnosticError as error:
        raise as_usage(f"--device {text}", error) from error


def parse_limits(trials: int | None, minutes: float | None) -> Limits:
    """When a search ends. Raises UsageError where both are given."""
    from mncc.tuning.search import Limits

    if trials is not None and minutes is not None:
        raise UsageError("--trials and --minutes: one of them says when the search ends", f"--minutes {minutes:g}")
    if trials is not None:
        return Limits(trials=trials)
    return Limits(seconds=60 * (MINUTES if minutes is None else minutes))


def tune(job: Job, devices: Sequence[Device], limits: Limits, drawing: Path | None = None) -> TuneReport:
    """Searches, measures what was found in the whole network beside the default, and writes the table of tuned tiles.
    `job` has no tuned tiles itself; `drawing` is an HTML file to draw the search into.

    Interrupted, it keeps what was found. Raises DiagnosticError, UsageError, OutsideError, KeyboardInterrupt."""
    require_one_target(job)
    for device in devices:
        check_device(job, device)
    places = _places(job.target, _unit(devices))
    began = time.monotonic()
    with Progress() as progress:
        facts = facts_of(job, devices[0], progress)
        tuning = _Tuning(job, devices, places, facts, _tasks(job, progress))
    try:
        tuning.search(limits)
    except (KeyboardInterrupt, OutsideError):
        tuning.tell_what_is_kept()
        raise
    finally:
        if drawing is not None:
            tuning.draw(drawing)
    with Progress() as progress:
        return tuning.confirm(progress, time.monotonic() - began)


def _tasks(job: Job, progress: Progress) -> tuple[Task, ...]:
    """What can be tuned. Raises UsageError where nothing can."""
    from mncc.verbs.tasks import tasks_of

    tasks = tuple(task for task in tasks_of(job, progress) if knobs(task.spec, task.target))
    if not tasks:
        raise UsageError(f"{job.name} has no kernel with tiles to choose", "there is nothing to tune")
    return tasks


def _unit(devices: Sequence[Device]) -> Unit:
    """What is measured: time, or in an emulator instructions."""
    from mncc.devices.qemu import Qemu

    return "instructions" if isinstance(devices[0], Qemu) else "s"


def _places(target: Target, unit: Unit) -> Places:
    """Raises UsageError where the person wants no tables."""
    from mncc.tuning.tables import own_folder

    folder = own_folder()
    if folder is None:
        raise UsageError("MNCC_TUNED=off: there is no place for what is found", "unset it, or name a folder")
    kind = target.name if unit == "s" else f"{target.name}-instructions"
    return Places(folder / f"{target.name}.json", folder / "search" / kind)


def _key(task: Task, stamp: Stamp, facts: Facts) -> str:
    """What tells the trials of a kernel from all others: it, its space, and the processors they are measured on."""
    parts = (task.spec, task.aligned, stamp.facts, facts.processor, knobs(task.spec, task.target))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


class _Tuning:
    """A run of `mncc tune`."""

    def __init__(
        self, job: Job, devices: Sequence[Device], places: Places, facts: Facts, tasks: tuple[Task, ...]
    ) -> None:
        from mncc.tuning.tables import current_stamp, load_tables

        self._job, self._devices, self._facts, self._tasks = job, devices, facts, tasks
        self._unit, self._places = _unit(devices), places
        self._stamp = current_stamp(job.target)
        before = load_tables(job.target)
        for note in before.notes:
            warn(note)
        self._before = before.tiles()
        self._search: Search | None = None
        self._trials: list[Trial] = []
        self._drift: float | None = None

    def search(self, limits: Limits) -> None:
        """The search itself. Raises OutsideError, KeyboardInterrupt."""
        from mncc.tuning.database import open_database
        from mncc.tuning.measure import open_measurer

        workers = os.cpu_count() or 1
        with (
            open_database(self._places.database, self._stamp.definition, warn) as database,
            open_measurer(self._devices, self._job.target, workers, self._job.cc) as measurer,
        ):
            self._search = search = self._prepared(database, measurer, limits)
            with TuneView(search, self._unit, limits.seconds, limits.trials) as view:
                search.watch = self._watch(view)
                search.run()
                search.settle(limits.seconds)
            drifts = [abs(ratio - 1) for each in measurer.drift.values() for _, ratio in each]
            self._drift = max(drifts, default=None)

    def _watch(self, view: TuneView) -> Callable[[Trial], None]:
        def watch(trial: Trial) -> None:
            self._trials.append(trial)
            view.show(trial)

        return watch

    def _prepared(self, database: Any, measurer: Any, limits: Limits) -> Search:
        from mncc.tuning.roofline import roofline
        from mncc.tuning.search import Search

        seconds = None if limits.seconds is None else (1 - SETTLING) * limits.seconds
        return Search(
            self._tasks,
            keys={task.name: _key(task, self._stamp, self._facts) for task in self._tasks},
            bounds={task.name: roofline(task, self._unit, self._facts.peak) for task in self._tasks},
            measurer=measurer,
            database=database,
            definition=self._stamp.definition,
            limits=replace(limits, seconds=seconds),
            keep=lambda standing: self._write([standing]),
            devices=measurer.seats,
            incumbents={task.name: self._before[task.spec] for task in self._tasks if task.spec in self._before},
        )

    def _write(self, standings: Sequence[Standing], settled: bool = False) -> None:
        """Puts the best tiles of kernels into the table."""
        from mncc.tuning.tables import keep

        found = [self._tuned(standing, settled) for standing in standings if standing.best is not None]
        keep(self._places.table, self._job.target, found)

    def _tuned(self, standing: Standing, settled: bool) -> TunedKernel:
        from mncc.backend.cpu import KernelFunction
        from mncc.backend.definition import code_of
        from mncc.kernels.tuned import TunedKernel

        task, tiles = standing.task, standing.best_tiles
        assert tiles is not None and standing.best is not None and standing.default is not None
        code = code_of(KernelFunction(task.spec, tiles, task.aligned), task.target) if settled else ""
        device, machine = ",".join(each.name for each in self._devices), self._facts.processor
        when = time.strftime("%Y-%m-%d")
        costs = (standing.best, standing.default)
        return TunedKernel(task.spec, tiles, self._unit, *costs, device, machine, when, standing.spent, code)

    def tell_what_is_kept(self) -> None:
        """Says, where a search ends early, what remains of it."""
        standings = self._search.standings if self._search else ()
        better = [standing for standing in standings if standing.ratio < 1]
        if better:
            say(f"what was found for {plural(len(better), 'kernel')} is kept in {self._places.table}")
        if self._search:
            say(f"the same command goes on from here; trials are in {self._places.database}")

    def confirm(self, progress: Progress, seconds: float) -> TuneReport:
        """Measures the network with default and with tuned tiles in turn. A kernel that is no faster there with its
        tuned tiles goes back to its default."""
        assert self._search is not None
        standings = self._search.standings
        winners = {s.task.spec: s for s in standings if s.best_tiles not in (None, s.task.default)}
        measured = self._measured(winners, progress)
        least = 0.0 if self._unit == "instructions" else NO_GAIN
        for _ in range(HEATS):
            lost = [spec for spec in winners if measured[spec][1] >= (1 - least) * measured[spec][0]]
            if not lost:
                break
            for spec in lost:
                del winners[spec]
            # What remains is measured again, by itself: kernels fetch ahead for one another.
            again = self._measured(winners, progress)
            measured = {spec: again[spec] if spec in winners else measured[spec] for spec in measured}
        wholes = self._wholes
        self._finish(standings, winners)
        gains = tuple(self._gain(s, measured[s.task.spec], s.task.spec in winners) for s in standings)
        return TuneReport(
            network=self._job.name,
            target=self._job.target.name,
            device=", ".join(device.name for device in self._devices),
            unit=self._unit,
            kernels=gains,
            default=wholes[0].total,
            tuned=wholes[1].total,
            trials=self._search.trials,
            earlier=self._search.earlier,
            seconds=seconds,
            drift=self._drift,
            tuned_table=self._places.table,
            database=self._places.database,
        )

    def _measured(
        self, winners: Mapping[Any, Standing], progress: Progress
    ) -> dict[Any, tuple[float, float]]:
        """By spec, what its kernels cost the network with default tiles and with the winners'."""
        from mncc.kernels.tuned import Table

        table = Table({spec: self._tuned(standing, False) for spec, standing in winners.items()})
        jobs = (replace(self._job, tuned={}), replace(self._job, tuned={self._job.target.name: table}))
        first, second = measure_in_turn(jobs, self._devices[0], progress) if winners else self._alone(progress)
        self._wholes: tuple[Whole, Whole] = (first, second)
        found: dict[Any, tuple[float, float]] = {}
        for kernel, default, tuned in zip(self._job.plan().kernels, first.kernels, second.kernels, strict=True):
            before = found.get(kernel.spec, (0.0, 0.0))
            found[kernel.spec] = (before[0] + default, before[1] + tuned)
        return found

    def _alone(self, progress: Progress) -> tuple[Whole, Whole]:
        """Where nothing is tuned there is nothing to compare."""
        (only,) = measure_in_turn([self._job], self._devices[0], progress)
        return only, only

    def _finish(self, standings: Sequence[Standing], winners: Mapping[Any, Standing]) -> None:
        """The table as it remains: the winners, and the default where a table has something else for a kernel."""
        from mncc.tuning.tables import load_tables

        written = load_tables(self._job.target).tiles()
        back = []
        for standing in standings:
            task = standing.task
            if task.spec not in winners and written.get(task.spec, task.default) != task.default:
                back.append(replace(standing, best_tiles=task.default, best=standing.default))
        found = [standing for standing in (*winners.values(), *back) if standing.default is not None]
        if found:
            self._write(found, settled=True)

    def _gain(self, standing: Standing, network: tuple[float, float], kept: bool) -> KernelGain:
        return KernelGain(
            name=standing.task.name,
            times=standing.task.times,
            default=standing.default or 0.0,
            best=standing.best or 0.0,
            network_default=network[0],
            network_tuned=network[1],
            kept=kept,
            roofline=standing.bound,
            trials=standing.spent,
            failed=standing.failed,
            done=standing.done,
        )

    def draw(self, file: Path) -> None:
        """Draws the search so far into an HTML file. Raises OSError."""
        from mncc.report.tune_drawing import drawn

        if self._search is not None:
            head = f"{self._job.name} for {self._job.target.name} on {', '.join(d.name for d in self._devices)}"
            file.write_text(drawn(head, self._search.standings, self._trials, self._unit), encoding="utf-8")
