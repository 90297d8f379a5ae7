"""`mncc tune`: searches the tiles of a network's kernels on a device, and keeps what is better in the whole network."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.kernels.space import knobs
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.report.console import say, warn
from mncc.report.failures import UsageError
from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.tune import KernelGain, TuneReport, TuneView
from mncc.verbs.job import Job, as_usage, require_one_target
from mncc.verbs.loading import check_device
from mncc.verbs.tune_whole import Facts, facts_of

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.kernels.target import Target
    from mncc.kernels.tuned import Stamp, TunedKernel
    from mncc.tuning.database import Database
    from mncc.tuning.measure import DeviceMeasurer
    from mncc.tuning.search import Limits, Search, Trial
    from mncc.tuning.share import Standing
    from mncc.tuning.task import Task, Unit
    from mncc.verbs.tune_confirm import Contest

MINUTES = 30.0
"""Of a search where nothing else is said."""
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
    """When a search ends. Raises UsageError where both are given, or what is no time."""
    from mncc.tuning.search import Limits

    if trials is not None and minutes is not None:
        raise UsageError("--trials and --minutes: one of them says when the search ends", f"--minutes {minutes:g}")
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(f"--minutes {minutes:g}: that is no time after which a search ends", "--minutes 30")
    if trials is not None:
        return Limits(trials=trials)
    return Limits(seconds=60 * (MINUTES if minutes is None else minutes))


def tune(job: Job, devices: Sequence[Device], limits: Limits, drawing: Path | None = None) -> TuneReport:
    """Searches, measures what was found in the whole network beside the default, and writes the table of tuned tiles.
    `job` has no tuned tiles itself; `drawing` is an HTML file to draw the search into.

    The table is written once, in the end; of a run that ends before it, the database has all trials. Raises
    DiagnosticError, UsageError, OutsideError, KeyboardInterrupt."""
    from mncc.tuning.database import open_database
    from mncc.tuning.learned import load_xgboost
    from mncc.tuning.tables import current_stamp

    require_one_target(job)
    _check_devices(job, devices)
    if drawing is not None:
        _check_drawing(drawing)
    places, stamp = _places(job.target, _unit(devices)), current_stamp(job.target)
    # What would fail at the end fails before anything is compiled.
    load_xgboost()
    began = time.monotonic()
    with open_database(places.database, stamp.definition, warn) as database:
        with Progress() as progress:
            facts = facts_of(job, devices, progress)
            tuning = _Tuning(job, devices, places, facts, _tasks(job, progress), stamp, database)
        try:
            try:
                tuning.search(limits)
            finally:
                if drawing is not None:
                    tuning.draw(drawing)
            with Progress() as progress:
                return tuning.confirm(progress, lambda: time.monotonic() - began)
        except (KeyboardInterrupt, OutsideError):
            tuning.tell_what_is_kept()
            raise
        except OSError as error:
            tuning.tell_what_is_kept()
            where = f"{error.filename}: " if error.filename else "a file cannot be written: "
            help = "mend that (TMPDIR names another folder for temporary files), then run the same command again"
            raise OutsideError(f"{where}{error.strerror or error}", help) from error


def _check_devices(job: Job, devices: Sequence[Device]) -> None:
    """Raises UsageError where a device cannot run the target, or not beside the others, or nothing can be measured on
    it; OutsideError where a tool is missing."""
    from mncc.devices.counting import find_emulator
    from mncc.devices.errors import MixedDevices
    from mncc.devices.qemu import Qemu

    for device in devices:
        check_device(job, device)
    emulated = [isinstance(device, Qemu) for device in devices]
    if any(emulated) and not all(emulated):
        mixed = MixedDevices(tuple(device.name for device in devices))
        raise as_usage("--device", DiagnosticError([mixed]))
    if any(emulated):
        try:
            find_emulator(job.target)
        except DiagnosticError as error:
            raise as_usage(f"--device qemu with --target {job.target.name}", error) from error


def _check_drawing(file: Path) -> None:
    """Raises UsageError where a search cannot be drawn into the file: before it, not after half an hour."""
    if file.is_dir():
        raise UsageError(f"--report {file}: that is a folder", f"--report {file / 'search.html'}")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--report {file}: there is no folder {file.parent}", f"mkdir -p {file.parent}")
    there = file.exists()
    try:
        with file.open("a"):
            pass
    except OSError as error:
        raise UsageError(f"--report {file}: it cannot be written ({error.strerror})", "name another file") from error
    if not there:
        file.unlink()


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
        self,
        job: Job,
        devices: Sequence[Device],
        places: Places,
        facts: Facts,
        tasks: tuple[Task, ...],
        stamp: Stamp,
        database: Database,
    ) -> None:
        from mncc.tuning.tables import load_tables

        self._job, self._devices, self._facts, self._tasks = job, devices, facts, tasks
        self._unit, self._places = _unit(devices), places
        self._stamp, self._database = stamp, database
        before = load_tables(job.target)
        for note in before.notes:
            warn(note)
        self._before, self._told = before.faster(), before.notes
        self._search: Search | None = None
        self._trials: list[Trial] = []
        self._drift: float | None = None

    def search(self, limits: Limits) -> None:
        """The search itself. Raises OutsideError, KeyboardInterrupt."""
        from mncc.tuning.measure import open_measurer

        workers, lost = os.cpu_count() or 1, self._tell_loss
        with open_measurer(self._devices, self._job.target, workers, self._job.cc, lost=lost) as measurer:
            self._search = search = self._prepared(measurer, limits)
            with TuneView(search, self._unit, limits.seconds, limits.trials) as view:
                search.watch, search.watch_phase = self._watch(view), view.tell_phase
                search.run()
                search.settle(limits.seconds)
            drifts = [abs(ratio - 1) for each in measurer.drift.values() for _, ratio in each]
            self._drift = max(drifts, default=None)

    def _tell_loss(self, device: str, text: str) -> None:
        """Tells of a device that was lost; the log has all that it said."""
        warn(f"{device} was lost: {text.splitlines()[0]}")
        self._database.log(f"{device} was lost", text)

    def _watch(self, view: TuneView) -> Callable[[Trial], None]:
        def watch(trial: Trial) -> None:
            self._trials.append(trial)
            view.show(trial)

        return watch

    def _prepared(self, measurer: DeviceMeasurer, limits: Limits) -> Search:
        from mncc.tuning.roofline import roofline
        from mncc.tuning.search import Search

        seconds = None if limits.seconds is None else (1 - SETTLING) * limits.seconds
        search = Search(
            self._tasks,
            keys={task.name: _key(task, self._stamp, self._facts) for task in self._tasks},
            bounds={task.name: roofline(task, self._unit, self._facts.peak) for task in self._tasks},
            measurer=measurer,
            database=self._database,
            definition=self._stamp.definition,
            limits=replace(limits, seconds=seconds),
            devices=measurer.seats,
            incumbents={task.name: self._before[task.spec].tiles for task in self._tasks if task.spec in self._before},
        )
        others = sum(map(len, self._database.trials.values()))
        if others and not search.earlier:
            where = f"{plural(others, 'trial')} in {self._places.database}"
            say(f"note: {where}: none is of these kernels with this target's facts on this processor, and none is used")
        return search

    def _tuned(self, standing: Standing) -> TunedKernel:
        from mncc.kernels.tuned import TunedKernel

        task, tiles = standing.task, standing.best_tiles
        assert tiles is not None and standing.best is not None and standing.default is not None
        device, machine = ",".join(each.name for each in self._devices), self._facts.processor
        when = time.strftime("%Y-%m-%d")
        costs = (standing.best, standing.default)
        return TunedKernel(task.spec, tiles, self._unit, *costs, device, machine, when, standing.spent)

    def tell_what_is_kept(self) -> None:
        """Says, where a run ends early, what remains of it."""
        if self._search:
            say("tuned tiles are as they were: what was found is not yet measured in the whole network")
        if self._search and self._search.trials:
            trials = plural(self._search.trials, "trial")
            say(f"{trials} are kept in {self._places.database}: the same command goes on from here")

    def confirm(self, progress: Progress, seconds: Callable[[], float]) -> TuneReport:
        """Measures what was found in the network, and writes what remains into the table."""
        from mncc.verbs.tune_confirm import Contest

        assert self._search is not None
        standings = self._search.standings
        known = [standing for standing in standings if standing.default is not None]
        found = {s.task.spec: self._tuned(s) for s in known if s.best_tiles != s.task.default}
        reached, counted = frozenset(s.task.spec for s in known), self._unit == "instructions"
        contest = Contest(self._job, self._devices[0], found, self._before, reached, counted)
        contest.decide([standing.task.spec for standing in standings], progress)
        self._keep(contest, known)
        return TuneReport(
            network=self._job.name,
            target=self._job.target.name,
            device=", ".join(device.name for device in self._devices),
            unit=self._unit,
            kernels=tuple(self._gain(standing, contest) for standing in standings),
            default=contest.wholes[0].total,
            tuned=contest.wholes[1].total,
            trials=self._search.trials,
            earlier=self._search.earlier,
            seconds=seconds(),
            drift=self._drift,
            tuned_table=self._places.table,
            database=self._places.database,
            drifted=contest.drifted,
        )

    def _keep(self, contest: Contest, known: Sequence[Standing]) -> None:
        """Writes what has changed: winners, and the default where a table has something else for a kernel."""
        from mncc.tuning.tables import keep

        changed = [kernel for spec, kernel in contest.chosen.items() if kernel is not self._before.get(spec)]
        lost = [s for s in known if s.task.spec in self._before and s.task.spec not in contest.chosen]
        back = [self._tuned(replace(s, best_tiles=s.task.default, best=s.default)) for s in lost]
        tasks = {standing.task.spec: standing.task for standing in known}
        if changed or back:
            entries = [self._with_code(tasks[kernel.spec], kernel) for kernel in (*changed, *back)]
            try:
                notes = keep(self._places.table, self._job.target, entries).notes
            except OSError as error:
                help = "mend that, then run the same command: it measures what it found again"
                raise OutsideError(f"{self._places.table} cannot be written: {error.strerror}", help) from error
            for note in notes:
                if note not in self._told:
                    warn(note)

    def _with_code(self, task: Task, kernel: TunedKernel) -> TunedKernel:
        from mncc.backend.cpu import KernelFunction
        from mncc.backend.definition import code_of

        return replace(kernel, code=code_of(KernelFunction(task.spec, kernel.tiles, task.aligned), task.target))

    def _gain(self, standing: Standing, contest: Contest) -> KernelGain:
        task = standing.task
        default, tuned = contest.costs[task.spec]
        return KernelGain(
            name=task.name,
            times=task.times,
            default=standing.default or 0.0,
            best=standing.best or 0.0,
            network_default=default,
            network_tuned=tuned,
            kept=task.spec in contest.chosen,
            state=contest.states[task.spec],
            roofline=standing.bound,
            trials=standing.spent,
            failed=standing.failed,
            done=standing.done,
        )

    def draw(self, file: Path) -> None:
        """Draws the search so far into an HTML file, or warns: whatever else goes on matters more."""
        from mncc.report.tune_drawing import drawn

        if self._search is not None:
            head = f"{self._job.name} for {self._job.target.name} on {', '.join(d.name for d in self._devices)}"
            try:
                file.write_text(drawn(head, self._search.standings, self._trials, self._unit), encoding="utf-8")
            except OSError as error:
                warn(f"the search is not drawn: {file} cannot be written ({error.strerror})")
