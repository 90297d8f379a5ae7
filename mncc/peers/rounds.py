"""Engines in turn, a few runs each, with measurements of the FMA peak between: clocks and neighbours change, and so
change for all alike."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from mncc.devices.peak import PeakMeter
from mncc.peers.engines import Engine, PeerError
from mncc.peers.handover import Handover
from mncc.peers.process import WORKER, Process, choose_cpus, pinned

LEAST_ROUNDS, MOST_ROUNDS = 15, 200
"""How often an engine has its turn, however slow or fast it is."""
SETTLE_SECONDS = 0.005
"""After a turn on several threads: pools go on spinning for a while after their last run."""
SLICE_SECONDS, SLICE_RUNS, PEAK_MILLISECONDS = 0.02, 50, 10.0
"""A turn: as many runs as fit into the seconds, one at least; and how long the peak is measured after all of them."""

_SOURCES = Path(__file__).resolve().parents[2]


@dataclass
class Contestant:
    """One engine at a number of threads, ready to run, and what was measured of it."""

    engine: str
    threads: int
    process: Process
    version: str = ""
    difference: float = 0.0
    """From mncc's outputs, as a share of their largest element."""
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    """Seconds of every run."""

    @property
    def seconds(self) -> Sequence[float]:
        """Of CPU time on one thread, which is steadier on a shared machine; of the wall clock on several."""
        return self.cpu if self.threads == 1 else self.wall

    @property
    def spent(self) -> float:
        """Wall seconds of all runs so far."""
        return sum(self.wall)

    def turn(self) -> None:
        """A few runs. Raises PeerError."""
        about = max(self.process.seconds, 1e-7)
        runs = self.process.run(min(max(round(SLICE_SECONDS / about), 1), SLICE_RUNS))
        self.cpu += runs.cpu
        self.wall += runs.wall
        if self.threads > 1:
            time.sleep(SETTLE_SECONDS)


def enter(stack: ExitStack, engine: Engine, threads: int, files: Handover, python: Path | None = None) -> Contestant:
    """Starts an engine in a process of its own, pinned to as many CPUs as it has threads; `stack` ends it.

    `python` is the interpreter that has the engine, by default mncc's own. Raises PeerError.
    """
    where = files.folder(engine, threads)
    job = {
        "engine": engine.name,
        "package": engine.package,
        "model": str(files.model(engine.form)),
        "inputs": [str(file) for file in files.inputs(engine.channels_first)],
        "folder": str(where),
        "threads": threads,
        "cpus": choose_cpus(threads),
    }
    interpreter = sys.executable if engine.own or python is None else str(python)
    process = stack.enter_context(
        Process([interpreter, str(WORKER)], job, where / "log.txt", _environment(engine, threads))
    )
    return Contestant(engine.name, threads, process, process.version, files.difference(engine, process.outputs))


def _environment(engine: Engine, threads: int) -> dict[str, str]:
    """OpenMP and the like ask the environment; an engine of mncc's own finds mncc where this module lies."""
    count = str(threads)
    found = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
    if engine.own:
        before = os.environ.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join([str(_SOURCES), *([before] if before else [])])
    return found


def measure(
    contestants: Sequence[Contestant],
    meter: PeakMeter,
    threads: Iterable[int],
    seconds: float,
    progress: Callable[[str, float], None],
    lost: Callable[[Contestant, PeerError], None],
) -> dict[int, float | None]:
    """Every contestant's turn, again and again until each has run for `seconds`; a slow one does not starve others.

    Answers the highest FMA peak in GFLOP/s seen of every number of threads, on the CPUs that they are pinned to; None
    where this CPU's is not known. A contestant that fails is handed to `lost` and runs no more. Raises OutsideError.
    """
    samples: dict[int, list[float]] = {count: [] for count in threads}
    running = list(contestants)
    for number in range(MOST_ROUNDS):
        running = [c for c in running if number < LEAST_ROUNDS or c.spent < seconds]
        if not running:
            break
        progress("measuring", max(number / MOST_ROUNDS, min(min(c.spent / seconds, 1.0) for c in running)))
        # Another one begins every time, so that nobody always follows the same neighbour.
        first = number % len(running)
        for contestant in running[first:] + running[:first]:
            try:
                contestant.turn()
            except PeerError as error:
                running.remove(contestant)
                lost(contestant, error)
        for count, seen in samples.items():
            with pinned(choose_cpus(count)):
                gflops = meter.sample(count, PEAK_MILLISECONDS)
            if gflops is not None:
                seen.append(gflops)
    return {count: max(seen, default=None) for count, seen in samples.items()}
