"""What is tuned, what is tried, and what came of it: the values that search and measurements hand each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from mncc.devices.requests import Operand
from mncc.kernels.chain import Chain
from mncc.kernels.target import Target
from mncc.kernels.tunable import Tunable

Tiles = Tunable

Unit = Literal["s", "instructions"]
"""What a cost counts: seconds of the device's CPU, or under qemu executed instructions, which are not time."""

ANYTHING = np.inf
"""In Task.expected: whatever the kernel leaves there is right."""
UNTOUCHED = np.nan
"""In Task.expected: the kernel must not write there."""


@dataclass(frozen=True, eq=False)
class Task:
    """One kernel to tune, with all that running it alone takes, whatever its tiles. Kernels of a network that have
    equal specs are one task. `mncc.verbs.tasks` makes them of a job."""

    name: str
    """Of the first kernel of the network that has this spec: k03_bottleneck."""
    spec: Chain
    """Of a family that has tiles to choose."""
    target: Target
    """The CPU as the spec's kernels see it: with float16 between kernels, `kernels.half.in_half` of the one named."""
    default: Tiles
    """What the cost model chooses. Right by every test there is, and the kernel that others are measured beside."""
    inputs: tuple[Operand, ...]
    """The input and, where there is one, the residual, as they lie in memory in a run of the network: real values."""
    output: Operand
    """The memory of the output: its size, and where in it the kernel begins to write. It begins as NaN."""
    arrays: tuple[Mapping[str, np.ndarray], ...] = field(repr=False)
    """Weights a stage, norms folded in, as Family.pack takes them."""
    expected: np.ndarray = field(repr=False)
    """All elements of the output's memory as the kernel must leave them, from the twin in float64: flat, in order.
    Borders are zero; ANYTHING and UNTOUCHED say what they say."""
    tolerance: tuple[float, float]
    """The largest error that passes, and the median, both as shares of the largest expected element."""
    aligned: tuple[bool, ...]
    """Whether each of the inputs, and the output, is known to begin on a line: what the backend compiles for."""
    times: int = 1
    """How often the network runs it: its weight in the whole."""


@dataclass(frozen=True)
class Candidate:
    """Tiles to try on a task."""

    task: Task
    tiles: Tiles


FailureKind = Literal["build", "crash", "hang", "wrong", "lost"]
"""It does not compile (or the compiler crashes or hangs); it was ended by a signal; it did not end; it computes
something else; the device was lost twice while it ran."""


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no cost; `text` says it in words, with a trace where there is one."""

    kind: FailureKind
    text: str


@dataclass(frozen=True)
class Outcome:
    """What came of a candidate: a cost or a failure.

    `cost` is comparable between devices of a kind, and between the beginning and the end of a run: the candidate was
    measured in turn with the task's default tiles, and the cost is its time by theirs, in the unit of the default's
    first time. `samples` are all ratios to the default that it was taken from, none where instructions are counted."""

    candidate: Candidate
    cost: float | None
    failure: Failure | None
    device: str
    """As --device names it; "" where it got to no device."""
    samples: tuple[float, ...] = field(default=(), repr=False)


class Measurer(Protocol):
    """Builds and measures candidates, several at a time, in an order of its own. A candidate that fails costs
    nothing but itself. Made by `mncc.tuning.measure.open_measurer(devices, target)`, a context manager: its end is that
    of all work, processes and folders, there and here."""

    @property
    def unit(self) -> Unit:
        """The unit of all costs."""
        ...

    def submit(self, candidates: Iterable[Candidate]) -> None:
        """Adds work and returns at once. Candidates that follow one another and share a task share an executable."""
        ...

    def outcomes(self) -> Iterator[Outcome]:
        """An outcome for every submitted candidate as it comes; ends when all have one. May be called again after more
        was submitted, which may also happen while it is read. Raises OutsideError where no device is left."""
        ...
