"""Candidates built and measured on devices, several at a time: what `task.Measurer` says.

One thread builds batches of candidates (builder.py). One thread a device takes them as they are ready, and runs their
candidates one by one, each in a process of its own (race.py). Building goes on while devices measure; where a device is
this machine, the two take turns.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from mncc.devices.counting import build_plugin, find_emulator, plugin_options
from mncc.devices.device import Device, Session
from mncc.devices.errors import MixedDevices
from mncc.devices.process import Command, Local
from mncc.devices.qemu import Qemu
from mncc.kernels.target import Target
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.library.toolchain import find_toolchain
from mncc.tuning.builder import Batch, Builder, take_group
from mncc.tuning.compiler import Compile, Compilers, compile_kernel
from mncc.tuning.program import PROGRAM
from mncc.tuning.race import EXECUTED, Limits, Raced, count, race
from mncc.tuning.scratch import own_folder
from mncc.tuning.task import Candidate, Failure, Outcome, Task, Unit

READY = 1
"""Batches a device that are built ahead."""
RETRIES = (0.0, 1.0, 5.0)
"""Seconds before each attempt to reach a lost device again; behind the last, it is given up."""
LOSSES = 4
"""So many losses with nothing measured between them end the use of a device."""
EMULATED_SECONDS = 300.0
"""Until a candidate that does not end is given up in an emulator."""


Lost = Callable[[str, str], object]
"""What is told of a lost device: its name, and why."""


@dataclass(frozen=True)
class _Loss:
    """A device that was lost, on its way to who reads outcomes."""

    device: str
    text: str


class _Place:
    """One seat on a device: a session, opened again where it was lost."""

    def __init__(self, device: Device, target: Target, name: str) -> None:
        self.device, self.target, self.name = device, target, name
        self.session: Session | None = None
        self._open = ExitStack()
        self._lock = threading.Lock()

    def open(self) -> Session:
        """The session, new where there is none. Raises OutsideError."""
        with self._lock:
            if self.session is None:
                self.session = self._open.enter_context(self.device.open(self.target))
            return self.session

    def close(self) -> None:
        """Ends the session, and what runs in it; a device that is gone cleans up alone."""
        with self._lock, contextlib.suppress(OutsideError):
            self.session, ended, self._open = None, self._open, ExitStack()
            ended.close()

    def reopen(self, stopped: threading.Event) -> None:
        """A new session in the place of one that was lost. Raises OutsideError behind the last attempt."""
        self.close()
        for attempt, seconds in enumerate(RETRIES, start=1):
            if stopped.wait(seconds):
                return
            try:
                self.open()
                return
            except OutsideError:
                if attempt == len(RETRIES):
                    raise


class DeviceMeasurer:
    """See task.Measurer. Made by open_measurer."""

    def __init__(
        self, places: Sequence[_Place], unit: Unit, builder: Builder, limits: Limits, folder: Path, lost: Lost
    ) -> None:
        self._places, self._unit, self._builder, self._limits, self._folder = places, unit, builder, limits, folder
        takes_turns = any(isinstance(place.device, Local | Command) for place in places)
        self._quiet: AbstractContextManager[object] = threading.Lock() if takes_turns else nullcontext()
        self._lost, self._changed = lost, threading.Condition()
        self._stopped = threading.Event()
        self._waiting: deque[Candidate] = deque()
        self._ready: deque[Batch] = deque()
        self._done: SimpleQueue[Outcome | _Loss | BaseException] = SimpleQueue()
        self._outstanding, self._left = 0, len(places)
        self._failed: BaseException | None = None
        self._first: dict[Task, float] = {}
        self._began = time.monotonic()
        self.drift: dict[str, list[tuple[float, float]]] = {place.name: [] for place in places}
        """By device: seconds since the beginning, and how long the reference kernels took by their first time there."""
        self._drift_from: dict[tuple[str, Task], float] = {}
        jobs = (self._build_all, *(partial(self._run_all, place) for place in places))
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]

    @property
    def unit(self) -> Unit:
        """The unit of all costs."""
        return self._unit

    @property
    def seats(self) -> int:
        """How many candidates run at a time."""
        return len(self._places)

    def submit(self, candidates: Iterable[Candidate]) -> None:
        """See task.Measurer."""
        with self._changed:
            before = len(self._waiting)
            self._waiting.extend(candidates)
            self._outstanding += len(self._waiting) - before
            self._changed.notify_all()

    def outcomes(self) -> Iterator[Outcome]:
        """See task.Measurer."""
        while self._outstanding:
            if self._failed is not None:
                raise self._failed
            found = self._done.get()
            if isinstance(found, BaseException):
                self._failed = found
                continue
            if isinstance(found, _Loss):
                self._lost(found.device, found.text)
                continue
            with self._changed:
                self._outstanding -= 1
            yield found

    def start(self) -> None:
        """Begins to work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends all work."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        for place in self._places:
            place.close()
        for thread in self._threads:
            thread.join()

    def _guarded(self, job: Callable[[], None]) -> None:
        """A thread; what it raises ends the measurements."""
        try:
            job()
        except BaseException as error:
            self._done.put(error)

    def _wait_for(self, ready: Callable[[], object]) -> bool:
        """Waits until `ready()`; False where the measurements end. The condition must be held."""
        self._changed.wait_for(lambda: self._stopped.is_set() or ready())
        return not self._stopped.is_set()

    def _build_all(self) -> None:
        """The building thread, until the measurements end."""
        while True:
            with self._changed:
                if not self._wait_for(lambda: self._waiting and len(self._ready) < READY * len(self._places)):
                    return
                group = take_group(self._waiting)
            with self._quiet:
                batch, failed = (None, ()) if self._stopped.is_set() else self._builder.build(group)
            for outcome in failed:
                self._done.put(outcome)
            if batch is not None:
                with self._changed:
                    self._ready.append(batch)
                    self._changed.notify_all()

    def _run_all(self, place: _Place) -> None:
        """A device's thread, until the measurements end or the device is given up."""
        losses = 0
        while True:
            with self._changed:
                if not self._wait_for(lambda: self._ready):
                    return
                batch = self._ready.popleft()
                self._changed.notify_all()
            try:
                with self._quiet:
                    losses = self._run_batch(place, batch, losses)
                batch.remove()
            except OutsideError as error:
                losses += 1
                self._done.put(_Loss(place.name, f"{error.message}\n{error.help or ''}"))
                self._put_back(batch, error, place)
                try:
                    if losses >= LOSSES:
                        raise
                    place.reopen(self._stopped)
                except OutsideError as last:
                    return self._give_up(place, last)

    def _run_batch(self, place: _Place, batch: Batch, losses: int) -> int:
        """Runs what is left of a batch; answers 0 where something was measured, else `losses`. Raises OutsideError."""
        session = place.open()
        session.send(batch.program, PROGRAM, program=True)
        while batch.left and not self._stopped.is_set():
            number, candidate = batch.left[0]
            outcome = self._outcome(place, session, number, candidate)
            batch.left.popleft()
            self._done.put(outcome)
            losses = 0
        return losses

    def _outcome(self, place: _Place, session: Session, number: int, candidate: Candidate) -> Outcome:
        task, limits = candidate.task, self._limits
        if self._unit == "instructions":
            found = count(session, number, place.name, task.target, limits, self._folder)
            if isinstance(found, Failure):
                return Outcome(candidate, None, found, place.name)
            return Outcome(candidate, float(found), None, place.name)
        raced = race(session, number, place.name, task.target, limits)
        if isinstance(raced, Failure):
            return Outcome(candidate, None, raced, place.name)
        return Outcome(candidate, raced.ratio * self._unit_of(place, task, raced), None, place.name, raced.ratios)

    def _unit_of(self, place: _Place, task: Task, raced: Raced) -> float:
        """Seconds of the task's reference when it was first measured; what it takes now goes into the drift."""
        with self._changed:
            first_here = self._drift_from.setdefault((place.name, task), raced.reference)
            self.drift[place.name].append((time.monotonic() - self._began, raced.reference / first_here))
            return self._first.setdefault(task, raced.reference)

    def _put_back(self, batch: Batch, error: OutsideError, place: _Place) -> None:
        """A batch with which a device was lost is run elsewhere, or there again; who loses two is left out."""
        if batch.left:
            number, candidate = batch.left[0]
            if number in batch.lost:
                batch.left.popleft()
                self._done.put(Outcome(candidate, None, Failure("lost", error.message), place.name))
            batch.lost.add(number)
        if not batch.left:
            return batch.remove()
        with self._changed:
            self._ready.appendleft(batch)
            self._changed.notify_all()

    def _give_up(self, place: _Place, error: OutsideError) -> None:
        with self._changed:
            self._left -= 1
            self._done.put(_Loss(place.name, f"it is given up: {error.message}"))
            if self._left == 0:
                self._done.put(OutsideError(f"no device is left to measure on: {error.message}", error.help))


def _opened(device: Device, target: Target, stack: ExitStack) -> list[_Place]:
    """The seats of a device that can be had; others may use some of them. Raises OutsideError where there is none."""
    seats = device.seats()
    places: list[_Place] = []
    for seat in range(seats):
        place = _Place(device, target, f"{device.name} #{seat + 1}" if seats > 1 else device.name)
        stack.callback(place.close)
        try:
            place.open()
            places.append(place)
        except OutsideError:
            if not places and seat + 1 == seats:
                raise
    return places


@contextmanager
def open_measurer(
    devices: Sequence[Device],
    target: Target,
    workers: int,
    cc: str | None = None,
    limits: Limits | None = None,
    compile: Compile = compile_kernel,
    lost: Lost = lambda device, text: None,
) -> Iterator[DeviceMeasurer]:
    """Measures on all of `devices`, which are of one kind, for the length of the block; `workers` processes compile,
    `cc` is the target's C compiler. A device that cannot be reached is told at once, and `lost` is called,
    while outcomes are read, with a device that is lost later and what it said. Raises DiagnosticError, OutsideError.
    """
    for device in devices:
        device.check(target)
    emulated = [isinstance(device, Qemu) for device in devices]
    if any(emulated) and not all(emulated):
        raise DiagnosticError([MixedDevices(tuple(device.name for device in devices))])
    toolchain = find_toolchain(target.triple, cc)
    chosen = limits or (Limits(run=EMULATED_SECONDS) if all(emulated) else Limits())
    with own_folder() as folder, ExitStack() as stack:
        if all(emulated):
            plugin = build_plugin(find_emulator(target), folder)
            devices = [Qemu(plugin_options(plugin, Path(EXECUTED)))] * len(devices)
        places = [place for device in devices for place in _opened(device, target, stack)]
        compilers = stack.enter_context(Compilers(workers, chosen.build, compile))
        builder = stack.enter_context(Builder(compilers, toolchain, folder))
        measurer = DeviceMeasurer(places, "instructions" if all(emulated) else "s", builder, chosen, folder, lost)
        measurer.start()
        try:
            yield measurer
        finally:
            compilers.end()
            measurer.stop()
