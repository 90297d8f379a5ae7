"""`mncc bench`: many short runs, in turn with those of other engines and with measurements of the FMA peak."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.peak import PeakMeter
from mncc.language.diagnostic import OutsideError
from mncc.peers import ENGINES, Contestant, Handover, PeerError, enter, measure
from mncc.report.bench import BenchReport, KernelTime, Timing, percent_of_peak
from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.machine import this_machine
from mncc.report.progress import Progress
from mncc.verbs.bench_there import bench_there, kernel_times
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import Job, require_one_target
from mncc.verbs.loading import loaded

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.devices.here import Here

SECONDS = 5.0
"""How long an engine at a number of threads is measured."""
_PROFILED_RUNS = 30
_OWN = "mncc"


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
    peer_python: Path | None = None,
    device: Device | None = None,
) -> BenchReport:
    """Measures the job's library, and `engines`, on every number of threads, each in a pinned process of its own.

    On another `device` than this machine only the job's library is measured. `peer_python` is the interpreter that has
    the other engines, by default this one. An engine that is missing or fails is warned of and stands in the report
    with the reason. Raises DiagnosticError, UsageError, OutsideError.
    """
    from mncc.devices.process import Local

    require_one_target(job)
    if device is not None and not isinstance(device, Local):
        return bench_there(job, threads, engines, profile, progress, device, seconds)
    inputs = random_inputs(job.network)
    missing: dict[str, str] = {}

    def lost(engine: str, error: PeerError) -> None:
        if engine == _OWN:
            raise OutsideError(f"mncc's own library cannot be measured: {error}") from error
        if engine not in missing:
            missing[engine] = str(error)
            warn(f"{engine} is missing: {error}")

    with loaded(job, progress) as here, PeakMeter() as meter, ExitStack() as stack:
        # The first run is in this process: it answers where the library refuses this CPU.
        files = stack.enter_context(_handover(job, here, inputs))
        contestants = list(_enter(stack, (_OWN, *engines), threads, files, peer_python, progress, lost))
        peaks = measure(
            contestants, meter, sorted({1, *threads}), seconds, progress, lambda c, error: lost(c.engine, error)
        )
        macs = job.network.macs
        report = BenchReport(
            network=job.name,
            target=job.target.name,
            device="local",
            macs=macs,
            fma_peak_gflops=peaks[1],
            results=tuple(_timing(c, macs, peaks[c.threads]) for c in contestants if c.engine not in missing),
            settings=dict(job.network.settings),
            tuned_kernels=job.tuned_kernels(),
            weights=job.weights.source,
            machine=this_machine(),
            missing=tuple(missing.items()),
            profile=_profile(job, here, inputs, peaks[1], progress) if profile else (),
        )
    return report


@contextmanager
def _handover(job: Job, here: Here, inputs: Sequence[np.ndarray]) -> Iterator[Handover]:
    expected = here.library.run(*inputs)
    with tempfile.TemporaryDirectory(prefix="mncc-peers-", ignore_cleanup_errors=True) as folder:
        # Other engines compute with the same weights, rounded where the library stores them so.
        tensors = {key: np.asarray(array, np.float32) for key, array in job.held_weights().tensors.items()}
        yield Handover(Path(folder), job.network, tensors, here.library.path, inputs, expected)


def _enter(
    stack: ExitStack,
    names: Sequence[str],
    threads: Sequence[int],
    files: Handover,
    python: Path | None,
    progress: Progress,
    lost: Callable[[str, PeerError], None],
) -> Iterator[Contestant]:
    """Every engine on every number of threads, ready to run."""
    for name in dict.fromkeys(names):
        for count in threads:
            progress(f"preparing {name}")
            try:
                if name not in ENGINES:
                    raise PeerError(f"mncc bench knows {', '.join(n for n in ENGINES if n != _OWN)}")
                yield enter(stack, ENGINES[name], count, files, python)
            except PeerError as error:
                lost(name, error)
                break


def _timing(contestant: Contestant, macs: int, peak: float | None) -> Timing:
    # To the nanosecond, which is what the clock counts.
    middle, least = (round(1e3 * f(contestant.seconds), 6) for f in (statistics.median, min))
    return Timing(
        engine=contestant.engine,
        threads=contestant.threads,
        median_ms=middle,
        min_ms=least,
        percent_of_fma_peak=percent_of_peak(macs, middle, peak),
        runs=len(contestant.seconds),
        fma_peak_gflops=peak,
        version=contestant.version,
        difference=contestant.difference,
    )


def _profile(
    job: Job, here: Here, inputs: Sequence[np.ndarray], peak: float | None, progress: Progress
) -> tuple[KernelTime, ...]:
    """Every kernel's time inside whole runs on one thread, most lost time first."""
    progress("measuring every kernel")
    times = here.library.profile(*inputs, repeats=_PROFILED_RUNS)
    return kernel_times(job, [kernel.median * 1e-6 for kernel in times], peak)
