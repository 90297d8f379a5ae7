"""What can be asked of a library wherever it runs, and the answers. A Place takes them: this process (here.py), or a
program on a device (runner.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Repeat:
    """How often something runs: `least` times, and then up to `most` until `seconds` have passed."""

    least: int = 1
    most: int = 1
    seconds: float = 0.0

    def goes_on(self, runs: int, spent: float) -> bool:
        """Whether another run follows `runs` of them that took `spent` seconds."""
        return runs < self.least or (runs < self.most and spent < self.seconds)


ONCE = Repeat()


@dataclass(frozen=True)
class NetworkRun:
    """Runs of the whole network on `inputs`, float32 in the declared NHWC shapes; None: those of the run before in the
    same call of `answers`, which need not be sent again. `profile` asks for the times of kernels too."""

    inputs: tuple[np.ndarray, ...] | None
    threads: int = 1
    repeat: Repeat = ONCE
    profile: bool = False


@dataclass(frozen=True)
class Operand:
    """Memory of a kernel's tensor, in a buffer aligned to 64 bytes; the kernel's pointer is `start` bytes into it.

    `memory` is an array of any type, contiguous, or a number of bytes, which begin as NaN in every float format.
    """

    memory: np.ndarray | int
    start: int = 0

    @property
    def nbytes(self) -> int:
        return self.memory if isinstance(self.memory, int) else self.memory.nbytes


@dataclass(frozen=True)
class KernelRun:
    """Runs of one kernel alone, all its items, on one image: its inputs, what its phases share, its output."""

    kernel: int
    tensors: tuple[Operand, ...]
    repeat: Repeat = ONCE


@dataclass(frozen=True)
class PeakSample:
    """A measurement of the FMA peak of so many cores."""

    threads: int
    seconds: float = 0.01


@dataclass(frozen=True)
class AboutMachine:
    """The question what machine it is."""


Request = NetworkRun | KernelRun | PeakSample | AboutMachine


@dataclass(frozen=True)
class MachineFacts:
    """What a machine says of itself: system, architecture, CPUs that are there, and the text of /proc/cpuinfo."""

    system: str
    architecture: str
    cpus: int
    cpuinfo: str


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    `outputs`: of a network, its outputs in their shapes; of a kernel, the whole memory of its last tensor, as bytes.
    `seconds` of every run: CPU time of the process on one thread, wall time otherwise. `kernels`: of a profile, the
    seconds of every kernel (wall time, one row a run). `gflops` of a peak, 0.0 where the CPU's is not known.
    """

    outputs: tuple[np.ndarray, ...] = ()
    seconds: tuple[float, ...] = ()
    kernels: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    gflops: float = 0.0
    machine: MachineFacts | None = None


class Place(Protocol):
    """Where a library is loaded and answers requests."""

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An answer for every request, in their order. Requests may be made while answers are read, or before the
        first one. Raises RunError where the library refuses, OutsideError where the device fails."""
        ...
