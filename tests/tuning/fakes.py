"""Tasks without weights, and a measurer that computes costs instead of measuring them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from mncc.devices.requests import Operand
from mncc.elaborate import load
from mncc.kernels.family import family_of
from mncc.kernels.records import to_json
from mncc.kernels.space import knobs
from mncc.kernels.target import load_target
from mncc.plan import make_plan
from mncc.tuning.task import Candidate, Failure, Outcome, Task, Tiles, Unit

TINY = Path(__file__).parents[2] / "docs" / "tiny.mn"
PEAK = 100.0
"""GFLOP/s of the machine that is not there."""

INSTRUCTIONS_A_SECOND = 1e10
SLOWER = 2.0
"""Than predicted, so that nothing comes near to its roofline."""

Cost = Callable[[Task, Tiles], float | Failure]


def tiny_tasks(target_name: str = "x86-64-v3") -> list[Task]:
    """The kernels of docs/tiny.mn that have tiles to choose."""
    target = load_target(target_name)
    kernels = make_plan(load(TINY, {}), target).kernels
    tuned = [kernel for kernel in kernels if knobs(kernel.spec, target)]
    nothing = np.empty(0, np.float32)
    return [
        Task(k.name, k.spec, target, k.tiles, (), Operand(0), (), nothing, (1e-4, 2e-6), (True,))  # type: ignore[arg-type]
        for k in tuned
    ]


def predicted_seconds(task: Task, tiles: Tiles) -> float:
    """What the cost model says, at PEAK."""
    slots = family_of(task.spec).predict(task.spec, tiles, task.target).slots.total
    return slots * 2e-9 * task.target.lanes / PEAK


def machine_cost(task: Task, tiles: Tiles) -> float:
    """As predicted but for what a machine has its own mind about: a share that depends on every knob's value, always
    the same one."""
    off = [random.Random(f"{task.name} {value}").gauss(0.0, 0.08) for value in (*_parts(tiles),)]
    return SLOWER * predicted_seconds(task, tiles) * math.exp(sum(off))


def _parts(tiles: Tiles) -> Iterator[str]:
    """As a table has them: a field that is added with a default changes no machine's mind."""
    yield from (str(to_json(getattr(tiles, name))) for name in tiles.__dataclass_fields__)


@dataclass
class FakeMeasurer:
    """Answers with `cost`, in the order in which candidates are submitted. `asked` holds all of them."""

    cost: Cost = machine_cost
    unit: Unit = "s"
    asked: list[Candidate] = field(default_factory=list)
    drift: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {"local": [(1.0, 1.0), (2.0, 1.03)]})
    seats: int = 1
    _waiting: list[Candidate] = field(default_factory=list)

    def __enter__(self) -> FakeMeasurer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._waiting.clear()

    def submit(self, candidates: Iterable[Candidate]) -> None:
        found = list(candidates)
        self.asked += found
        self._waiting += found

    def outcomes(self) -> Iterator[Outcome]:
        while self._waiting:
            candidate = self._waiting.pop(0)
            cost = self.cost(candidate.task, candidate.tiles)
            if self.unit == "instructions" and not isinstance(cost, Failure):
                cost *= INSTRUCTIONS_A_SECOND
            if isinstance(cost, Failure):
                yield Outcome(candidate, None, cost, "local")
            else:
                yield Outcome(candidate, cost, None, "local", (1.0,))
