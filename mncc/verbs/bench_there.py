"""`mncc bench` on another machine: the library alone, in turn with the FMA peak of the cores there."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

import mncc
from mncc.devices.process import Command
from mncc.devices.qemu import Qemu
from mncc.devices.requests import AboutMachine, Answer, MachineFacts, NetworkRun, PeakSample, Place, Repeat, Request
from mncc.report.bench import BenchReport, KernelTime, Timing, percent_of_peak
from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.machine import Machine, cpu_name
from mncc.report.progress import Progress
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import Job
from mncc.verbs.loading import check_device, placed

if TYPE_CHECKING:
    from mncc.devices.device import Device

_FIRST = Repeat(least=2, most=50, seconds=0.2)
"""Runs that only tell how long one takes; the first warms up."""
_LEAST_ROUNDS, _MOST_ROUNDS = 15, 200
_TURN = Repeat(least=1, most=50, seconds=0.02)
"""Runs of a round, between two measurements of the peak."""
_PROFILED = Repeat(least=4, most=31, seconds=5.0)


def bench_there(
    job: Job,
    threads: Sequence[int],
    engines: Sequence[str],
    profile: bool,
    progress: Progress,
    device: Device,
    seconds: float,
) -> BenchReport:
    """Measures the job's library on `device`, for about `seconds` on every number of threads, and the peak of its cores
    in turn with it. Raises DiagnosticError, UsageError for engines and emulators, OutsideError."""
    if engines:
        raise UsageError(f"--against {','.join(engines)}: other engines run on this machine only", "leave --device out")
    if isinstance(device, Qemu):
        raise UsageError("--device qemu: an emulator has no times worth measuring", "name a machine: ssh://user@host")
    check_device(job, device)
    if isinstance(device, Command) and any("qemu" in word for word in device.words):
        warn("times in an emulator are no processor's; --device qemu counts instructions instead")
    inputs = tuple(random_inputs(job.network))
    with placed(job, progress, device) as place:
        progress("measuring")
        about, *first = place.answers([AboutMachine(), *(NetworkRun(inputs, t, _FIRST) for t in threads)])
        spans = {count: answer.seconds[-1] for count, answer in zip(threads, first, strict=True)}
        times, peaks = _rounds(place, inputs, spans, seconds)
        answers = list(place.answers([NetworkRun(inputs, 1, _PROFILED, profile=True)] if profile else []))
    macs = job.network.macs
    return BenchReport(
        network=job.name,
        target=job.target.name,
        device=device.name,
        macs=macs,
        fma_peak_gflops=peaks[1],
        results=tuple(_timing(count, times[count], macs, peaks[count]) for count in threads),
        settings=dict(job.network.settings),
        tuned_kernels=job.tuned_kernels(),
        weights=job.weights.source,
        machine=_machine(about.machine),
        profile=kernel_times(job, _medians(answers[0]), peaks[1]) if answers else (),
    )


def kernel_times(job: Job, milliseconds: Sequence[float], peak: float | None) -> tuple[KernelTime, ...]:
    """What the profile says of every kernel, in the plan's order, as lines of a report: most lost time first."""
    kernels = []
    for kernel, ms in zip(job.plan().kernels, milliseconds, strict=True):
        ideal = 2e-6 * kernel.macs / peak if peak else 0.0
        gflops = 2e-6 * kernel.macs / ms if ms else 0.0
        share = percent_of_peak(kernel.macs, ms, peak)
        kernels.append(KernelTime(kernel.name, tuple(kernel.rows), kernel.macs, ms, gflops, share, ms - ideal))
    return tuple(sorted(kernels, key=lambda k: -k.lost_ms))


def _rounds(
    place: Place, inputs: tuple[np.ndarray, ...], spans: dict[int, float], seconds: float
) -> tuple[dict[int, list[float]], dict[int, float | None]]:
    """Seconds of every run, and the highest peak in GFLOP/s seen, by number of threads; None where it is not known."""
    turn = sum(max(span, _TURN.seconds) for span in spans.values()) / len(spans)
    many = min(max(round(seconds / turn), _LEAST_ROUNDS), _MOST_ROUNDS)
    counts = sorted({1, *spans})

    def requests() -> Iterator[Request]:
        yield NetworkRun(inputs)
        for _ in range(many):
            yield from (NetworkRun(None, count, _TURN) for count in spans)
            yield from (PeakSample(count) for count in counts)

    answers = place.answers(requests())
    next(answers)
    times: dict[int, list[float]] = {count: [] for count in spans}
    peaks: dict[int, float | None] = dict.fromkeys(counts)
    for _ in range(many):
        for count in spans:
            times[count] += next(answers).seconds
        for count in counts:
            gflops = next(answers).gflops
            peaks[count] = max(peaks[count] or 0.0, gflops) or None
    return times, peaks


def _timing(threads: int, seconds: Sequence[float], macs: int, peak: float | None) -> Timing:
    middle, least = (round(1e3 * f(seconds), 6) for f in (statistics.median, min))
    return Timing(
        engine="mncc",
        threads=threads,
        median_ms=middle,
        min_ms=least,
        percent_of_fma_peak=percent_of_peak(macs, middle, peak),
        runs=len(seconds),
        fma_peak_gflops=peak,
        version=mncc.__version__,
    )


def _medians(answer: Answer) -> list[float]:
    """Milliseconds of every kernel, the first run left out."""
    return [float(ms) for ms in 1e3 * np.median(answer.kernels[1:], axis=0)]


def _machine(facts: MachineFacts | None) -> Machine | None:
    return Machine(cpu_name(facts.cpuinfo), facts.architecture, facts.cpus, facts.system) if facts else None
