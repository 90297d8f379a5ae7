"""A network with default and with tuned tiles, both libraries measured in turn, kernel by kernel."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.errors import MixedProcessors
from mncc.devices.process import Local
from mncc.devices.qemu import Qemu
from mncc.devices.requests import AboutMachine, NetworkRun, PeakSample, Place, Repeat
from mncc.devices.shared import Shared
from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.peers.process import choose_cpus, pinned
from mncc.report.machine import processor_kind
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import Job
from mncc.verbs.loading import check_device, placed

if TYPE_CHECKING:
    from mncc.devices.device import Device

ROUNDS = 9
_PROFILED, _TURN = Repeat(least=4, most=9, seconds=1.0), Repeat(least=3, most=50, seconds=0.05)
_PEAK_SAMPLES = 20


@dataclass(frozen=True)
class Whole:
    """What a run of a network costs, in seconds or instructions, and each of its kernels, in their order."""

    total: float
    kernels: tuple[float, ...]
    drift: float = 0.0
    """By how much its time changed from the first third of the rounds to the last, as a share."""


@dataclass(frozen=True)
class Facts:
    """The processor that a device has, as it calls itself, and the FMA peak of one of its cores in GFLOP/s; None where
    there is none to measure."""

    processor: str
    peak: float | None


def facts_of(job: Job, devices: Sequence[Device], progress: Progress) -> Facts:
    """Asks devices what they are, every machine of a farm that is free now, and the first for its peak; the job's
    library is compiled on the way. Raises as `placed` does, and DiagnosticError where their processors are of several
    kinds."""
    if isinstance(devices[0], Qemu):
        from mncc.devices.counting import emulator_version, find_emulator

        return Facts(f"qemu-user {emulator_version(find_emulator(job.target))}, {job.target.emulated}", None)
    with ExitStack() as stack:
        seats = [seat for device in devices for seat in _seats(job, device, progress, stack)]
        facts = [_facts_of(job, *seat, progress, first=number == 0) for number, seat in enumerate(seats)]
    if len({each.processor for each in facts}) > 1:
        named = tuple((name, each.processor) for (name, _), each in zip(seats, facts, strict=True))
        raise DiagnosticError([MixedProcessors(named)])
    return facts[0]


def _seats(job: Job, device: Device, progress: Progress, stack: ExitStack) -> list[tuple[str, Device]]:
    """A device by its name; of a farm all machines that can be had now, each held until the stack ends, so that no two
    of them are the same one. Raises OutsideError where there is none."""
    seats = device.seats()
    if seats == 1:
        return [(device.name, device)]
    found: list[tuple[str, Device]] = []
    for number in range(1, seats + 1):
        name = f"{device.name} #{number}"
        progress(f"reaching {name}")
        try:
            found.append((name, Shared(device, stack.enter_context(device.open(job.target)))))
        except OutsideError:
            # Others may use some.
            if not found and number == seats:
                raise
    return found


def _facts_of(job: Job, name: str, device: Device, progress: Progress, first: bool) -> Facts:
    with placed(job, progress, device) as place:
        progress(f"measuring the FMA peak on {name}" if first else f"asking {name} for its processor")
        about, *peaks = place.answers([AboutMachine(), *[PeakSample(1)] * (_PEAK_SAMPLES if first else 0)])
    peak = max((answer.gflops for answer in peaks), default=0.0)
    return Facts(processor_kind(about.machine.cpuinfo) if about.machine else "", peak or None)


def measure_in_turn(jobs: Sequence[Job], device: Device, progress: Progress) -> tuple[Whole, ...]:
    """The libraries of several jobs of one network, a round after the other. Raises as `placed` does."""
    if isinstance(device, Qemu):
        return tuple(_counted(job, progress) for job in jobs)
    inputs = tuple(random_inputs(jobs[0].network))
    totals: list[list[float]] = [[] for _ in jobs]
    kernels: list[list[np.ndarray]] = [[] for _ in jobs]
    with ExitStack() as stack:
        if not isinstance(device, Local):
            # One session for all: two might be on two machines of a kind, or there is but one.
            check_device(jobs[0], device)
            progress(f"reaching {device.name}")
            device = Shared(device, stack.enter_context(device.open(jobs[0].target)))
        places = [stack.enter_context(placed(job, progress, device)) for job in jobs]
        if isinstance(device, Local):
            stack.enter_context(pinned(choose_cpus(1)))
        for turn in range(ROUNDS):
            progress("measuring the whole network with default and tuned tiles in turn", turn / ROUNDS)
            for number, place in enumerate(places):
                total, each = _round(place, inputs)
                totals[number].append(total)
                kernels[number].append(each)
    middles = zip(totals, kernels, strict=True)
    return tuple(Whole(float(np.median(t)), tuple(map(float, np.median(k, axis=0))), _drift(t)) for t, k in middles)


def _drift(totals: Sequence[float]) -> float:
    third = len(totals) // 3
    return abs(float(np.median(totals[-third:]) / np.median(totals[:third])) - 1)


def _round(place: Place, inputs: tuple[np.ndarray, ...]) -> tuple[float, np.ndarray]:
    """Seconds of a run, and of every kernel of one; the first runs warm up."""
    profiled, whole = place.answers([NetworkRun(inputs, 1, _PROFILED, profile=True), NetworkRun(None, 1, _TURN)])
    return float(np.median(whole.seconds[1:])), np.median(profiled.kernels[1:], axis=0)


def _counted(job: Job, progress: Progress) -> Whole:
    """Instructions."""
    from mncc.devices.counting import count_library
    from mncc.library.write import write_library

    spec = compiled(job, progress)
    with tempfile.TemporaryDirectory(prefix="mncc-", ignore_cleanup_errors=True) as folder:
        files = write_library(spec, Path(folder, job.name), cc=job.cc)
        progress("counting instructions of the whole network")
        counted = count_library(files.directory, job.name, job.target, cc=job.cc)
    return Whole(counted.whole.total, tuple(float(kernel.total) for kernel in counted.kernels))
