"""The search over all kernels of a network: what is tried next, what came of it, and when it is enough."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mncc.tuning.database import Database
from mncc.tuning.evolution import BATCH
from mncc.tuning.kernel import Kernel
from mncc.tuning.learned import Learned
from mncc.tuning.share import Standing, next_standing
from mncc.tuning.task import Candidate, Measurer, Outcome, Task, Tiles

AHEAD = 2
"""Batches under way a device: one is built while another is measured."""
SMALLEST = 2
"""Of batches where trials are few: the default tiles, and others."""
HEATS = 3
"""How often finalists are measured again: the least of many noisy times is too low."""


@dataclass(frozen=True)
class Limits:
    """When a search ends, if nothing else ends it: after so many `trials`, those of earlier runs included, or so many
    `seconds` of this one."""

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trial:
    """One outcome of the search, and whether it is `better` than all before of its kernel. `predicted` is its time by
    the default's as the cost model has it, before anything was learned."""

    number: int
    outcome: Outcome
    standing: Standing
    better: bool
    predicted: float


class Search:
    """The search over several kernels. By the tasks' names, `keys` tell them apart in the database, `bounds` are their
    rooflines, and `incumbents` the tiles that a table has. `watch` is called with every trial;
    `watch_phase` with nothing, where what `phase` says has begun or goes on."""

    def __init__(
        self,
        tasks: Sequence[Task],
        keys: Mapping[str, str],
        bounds: Mapping[str, float | None],
        measurer: Measurer,
        database: Database,
        definition: str,
        limits: Limits,
        watch: Callable[[Trial], object] = lambda trial: None,
        devices: int = 1,
        incumbents: Mapping[str, Tiles] | None = None,
    ) -> None:
        self._measurer, self._database, self._limits = measurer, database, limits
        self.watch, self._most = watch, AHEAD * devices * BATCH
        self.phase = ""
        self.watch_phase: Callable[[], object] = lambda: None
        self._began, self._flying, self._new = time.monotonic(), 0, 0
        learned = Learned()
        self._kernels = {
            task.name: Kernel(
                Standing(task, bounds[task.name]),
                keys[task.name],
                definition,
                database,
                learned,
                (incumbents or {}).get(task.name),
            )
            for task in tasks
        }
        self._pending: dict[str, int] = dict.fromkeys(self._kernels, 0)
        self.earlier = sum(kernel.earlier for kernel in self._kernels.values())
        self.trials = self.earlier
        self._batch = self._batch_size()

    @property
    def standings(self) -> tuple[Standing, ...]:
        """All of them, in the order of the tasks."""
        return tuple(kernel.standing for kernel in self._kernels.values())

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return time.monotonic() - self._began

    def _batch_size(self) -> int:
        """Where trials are few, batches are small: half of them go to the first batches of all kernels, so that every
        kernel is tried, and the rest to those which have most to gain."""
        many = sum(not standing.done for standing in self.standings)
        if self._limits.trials is None or many == 0:
            return BATCH
        return min(BATCH, max(SMALLEST, (self._limits.trials - self.earlier) // (2 * many)))

    def run(self) -> None:
        """Searches until a limit is reached or all kernels are done. Raises OutsideError where no device is left."""
        self._fill()
        for outcome in self._measurer.outcomes():
            self._take(outcome)
            if self._limits.seconds is not None and self.seconds >= self._limits.seconds:
                return
            self._fill()

    def settle(self, seconds: float | None = None) -> None:
        """Measures the finalists of every kernel again, beside the default, and takes the one whose median is least; no
        new round begins `seconds` after the search began. Instructions are the same every time."""
        for outcome in self._measurer.outcomes():
            self._take(outcome)
        if self._measurer.unit == "instructions":
            return
        finalists = {name: tiles for name, kernel in self._kernels.items() if (tiles := kernel.finalists())}
        costs: dict[str, dict[Tiles, list[float]]] = {name: {} for name in finalists}
        heats = 0
        while finalists and heats < HEATS and (heats == 0 or seconds is None or self.seconds < seconds):
            heats += 1
            self.phase = f"measuring the fastest again, {heats} of {HEATS}"
            self._heat(finalists, costs)
        for name, times in costs.items():
            self._decide(self._kernels[name].standing, times, heats)

    def _heat(self, finalists: Mapping[str, Sequence[Tiles]], costs: Mapping[str, dict[Tiles, list[float]]]) -> None:
        """Measures all finalists once, and adds their costs."""
        for name, tiles in finalists.items():
            self._measurer.submit(Candidate(self._kernels[name].standing.task, each) for each in tiles)
        self.watch_phase()
        for outcome in self._measurer.outcomes():
            self.watch_phase()
            candidate = outcome.candidate
            if outcome.cost is not None:
                costs[candidate.task.name].setdefault(candidate.tiles, []).append(outcome.cost)

    def _decide(self, standing: Standing, times: Mapping[Tiles, Sequence[float]], heats: int) -> None:
        """Takes the finalist whose median is least. One that failed even once is none."""
        middle = {tiles: statistics.median(found) for tiles, found in times.items() if len(found) == heats}
        default = middle.get(standing.task.default)
        if default is None:
            return
        standing.best_tiles = min(middle, key=lambda tiles: middle[tiles])
        standing.default, standing.best = default, middle[standing.best_tiles]

    def _fill(self) -> None:
        """Submits batches until enough is under way, or the trials are spent."""
        while self._flying < self._most:
            standing = next_standing(self.standings)
            if standing is None or (self._batch < BATCH and standing.spent and self._begins()):
                return
            kernel = self._kernels[standing.task.name]
            left = self._most if self._limits.trials is None else self._limits.trials - self.trials - self._new
            # What an earlier run knows of a kernel's default and of the table's tiles is measured again, and no trial.
            if standing.spent == 0:
                left = max(left, kernel.again)
            if left <= 0:
                standing.done = "the trials are spent"
                continue
            batch = kernel.batch(min(left, self._batch))
            if batch:
                standing.waiting = True
                self._pending[standing.task.name] = len(batch)
                self._flying += len(batch)
                self._new += sum(kernel.is_new(candidate.tiles) for candidate in batch)
                self._measurer.submit(batch)

    def _begins(self) -> bool:
        """Whether there are kernels of which nothing is known yet; who gains most can be told when it is."""
        return any(standing.waiting and not standing.spent for standing in self.standings)

    def _take(self, outcome: Outcome) -> None:
        name = outcome.candidate.task.name
        kernel, standing = self._kernels[name], self._kernels[name].standing
        new = int(kernel.is_new(outcome.candidate.tiles))
        self.trials, self._new, self._flying = self.trials + new, self._new - new, self._flying - 1
        self._pending[name] -= 1
        if outcome.failure is not None:
            self._database.log_failure(outcome)
        better = kernel.take(outcome, self.trials)
        standing.waiting = self._pending[name] > 0
        predicted = kernel.predicted(outcome.candidate.tiles)
        self.watch(Trial(self.trials, outcome, standing, better, predicted))
