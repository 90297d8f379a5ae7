"""`mncc bench`: many short runs, in turn with those of other engines and with measurements of the FMA peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.peak import PeakMeter
from mncc.report.bench import BenchReport, KernelTime, Timing, percent_of_peak
from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.verbs.job import Job
from mncc.verbs.loading import Loaded, loaded

if TYPE_CHECKING:
    from mncc.network.graph import Network

PEERS = ("torch",)
"""Engines besides mncc that can be measured."""

SECONDS, LEAST_ROUNDS, MOST_ROUNDS = 5.0, 5, 200
"""How long an engine at a number of threads is measured, within these numbers of rounds."""
_SLICE_SECONDS, _SLICE_RUNS, _PEAK_MILLISECONDS = 0.02, 50, 10.0
_PROFILED_RUNS = 30


@dataclass
class _Contestant:
    """One engine at a number of threads and what was measured of it."""

    engine: str
    threads: int
    run: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0
    """Wall seconds of all slices so far."""

    def slice(self) -> None:
        """A few runs: as many as fit into a slice, one at least."""
        # At one thread the CPU time of the process is steadier than the wall clock of a shared machine.
        clock = time.process_time_ns if self.threads == 1 else time.perf_counter_ns
        began = time.perf_counter()
        for _ in range(_SLICE_RUNS):
            start = clock()
            self.run()
            self.seconds.append(1e-9 * (clock() - start))
            if time.perf_counter() - began > _SLICE_SECONDS:
                break
        self.spent += time.perf_counter() - began


def parse_threads(text: str) -> tuple[int, ...]:
    """`1,2` as numbers, each once. Raises UsageError."""
    try:
        counts = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1 or max(counts) > 1024:
        raise UsageError(f"--threads {text}: expected numbers of threads from 1 to 1024", "for example --threads 1,2")
    return counts


def parse_engines(text: str) -> tuple[str, ...]:
    """`torch,onnxruntime` as names, each once; whether they can run is found out later."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def bench(
    job: Job,
    threads: Sequence[int],
    engines: Sequence[str],
    profile: bool,
    progress: Progress,
    seconds: float = SECONDS,
) -> BenchReport:
    """Measures the job's library, and `engines`, on every number of threads. Raises DiagnosticError, OutsideError."""
    inputs = random_inputs(job.network)
    missing = tuple((e, f"mncc bench knows {', '.join(PEERS)}") for e in engines if e not in PEERS)
    for engine, reason in missing:
        warn(f"{engine} is missing: {reason}")
    with loaded(job, progress) as here, PeakMeter() as meter:
        contestants = [_Contestant("mncc", t, here.library.bind(*inputs, threads=t)) for t in threads]
        if "torch" in engines:
            progress("preparing torch")
            contestants += [_Contestant("torch", t, run) for t, run in _torch(job, inputs, threads)]
        peaks = _measure(contestants, meter, sorted({1, *threads}), progress, seconds)
        macs = job.network.macs
        report = BenchReport(
            network=job.name,
            target=job.target.name,
            device="local",
            macs=macs,
            fma_peak_gflops=peaks[1],
            results=tuple(_timing(c, macs, peaks[c.threads]) for c in contestants),
            missing=missing,
            profile=_profile(job, here, inputs, peaks[1], progress) if profile else (),
        )
    return report


def random_inputs(network: Network, seed: int = 0) -> list[np.ndarray]:
    """An array for every input, as a normalised picture would be spread."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(i.type.shape, dtype=np.float32) for i in network.inputs]


def _measure(
    contestants: Sequence[_Contestant], meter: PeakMeter, threads: Iterable[int], progress: Progress, seconds: float
) -> dict[int, float | None]:
    """Runs all contestants in turn, and returns the highest peak seen of every number of threads."""
    for contestant in contestants:
        contestant.run()
        contestant.run()
    samples: dict[int, list[float]] = {count: [] for count in threads}
    for number in range(MOST_ROUNDS):
        # A slow engine has its share of time early, and the others go on without it.
        running = [c for c in contestants if number < LEAST_ROUNDS or c.spent < seconds]
        if not running:
            break
        progress("measuring", max(number / MOST_ROUNDS, min(min(c.spent / seconds, 1.0) for c in contestants)))
        for contestant in running:
            contestant.slice()
        for count, seen in samples.items():
            gflops = meter.sample(count, _PEAK_MILLISECONDS)
            if gflops is not None:
                seen.append(gflops)
    return {count: max(seen, default=None) for count, seen in samples.items()}


def _timing(contestant: _Contestant, macs: int, peak: float | None) -> Timing:
    middle = 1e3 * statistics.median(contestant.seconds)
    return Timing(
        engine=contestant.engine,
        threads=contestant.threads,
        median_ms=middle,
        min_ms=1e3 * min(contestant.seconds),
        percent_of_fma_peak=percent_of_peak(macs, middle, peak),
        runs=len(contestant.seconds),
        fma_peak_gflops=peak,
    )


def _torch(
    job: Job, inputs: Sequence[np.ndarray], threads: Sequence[int]
) -> list[tuple[int, Callable[[], object]]]:
    """The twin in float32, as torch runs it eagerly."""
    from mncc.reference import Twin

    twin = Twin(job.network, job.weights)
    outputs = [output.value for output in job.network.outputs]

    def on(count: int) -> Callable[[], object]:
        def call() -> object:
            return twin.run(inputs, dtype="float32", keep=outputs, threads=count)

        return call

    return [(count, on(count)) for count in threads]


def _profile(
    job: Job, here: Loaded, inputs: Sequence[np.ndarray], peak: float | None, progress: Progress
) -> tuple[KernelTime, ...]:
    """Every kernel's time inside whole runs on one thread, most lost time first."""
    from mncc.plan import make_plan

    progress("measuring every kernel")
    plan = make_plan(job.network, job.target)
    times = here.library.profile(*inputs, repeats=_PROFILED_RUNS)
    kernels = []
    for kernel, measured in zip(plan.kernels, times, strict=True):
        ms = measured.median * 1e-6
        ideal = 2e-6 * kernel.macs / peak if peak else 0.0
        gflops = 2e-6 * kernel.macs / ms if ms else 0.0
        share = percent_of_peak(kernel.macs, ms, peak)
        kernels.append(KernelTime(kernel.name, tuple(kernel.rows), kernel.macs, ms, gflops, share, ms - ideal))
    return tuple(sorted(kernels, key=lambda k: -k.lost_ms))
