"""Which kernel is searched next: the one of which a further batch is expected to gain the network most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mncc.tuning.task import Task, Tiles

NOISE = 0.015
"""Of a time: what differs by less is taken for equal, and a kernel so near to its roofline for finished."""
STEP = 0.004
"""Of a time: an improvement by less does not count as one."""
PATIENCE = 100
"""Trials without an improvement after which a kernel is finished."""


@dataclass
class Standing:
    """How far the search of a task is. Costs are in the measurer's unit; `bound` is its roofline, where that is known.
    `spent` trials of this run and earlier ones, `stale` of them since the last improvement."""

    task: Task
    bound: float | None = None
    default: float | None = None
    best: float | None = None
    best_tiles: Tiles | None = None
    spent: int = 0
    stale: int = 0
    failed: int = 0
    waiting: bool = False
    """Whether candidates are being measured."""
    done: str = ""
    """Why nothing more is tried; empty while something is."""
    recent: float = 0.0
    """What a trial of the last batches gained on average."""
    history: list[tuple[int, float]] = field(default_factory=list)
    """Every improvement: after how many trials of the whole run, and the cost."""

    @property
    def ratio(self) -> float:
        """The best by the default; 1 where nothing is better, or known."""
        return self.best / self.default if self.best and self.default else 1.0

    def take(self, tiles: Tiles, cost: float | None, trial: int) -> bool:
        """Counts a candidate, which was the run's `trial`-th, and answers whether it is the best so far."""
        self.spent += 1
        if cost is None:
            self.failed += 1
        if tiles == self.task.default and self.default is None:
            self.default = cost
            self.done = "its default tiles fail" if cost is None else self.done
        gained = 0.0
        better = cost is not None and (self.best is None or cost < self.best)
        if better:
            assert cost is not None
            gained = (self.best - cost) if self.best is not None else 0.0
            self.stale = 0 if self.best is None or gained > STEP * self.best else self.stale + 1
            self.best, self.best_tiles = cost, tiles
            self.history.append((trial, cost))
        else:
            self.stale += 1
        self.recent = 0.9 * self.recent + 0.1 * gained
        self._judge()
        return better

    def _judge(self) -> None:
        if self.done:
            return
        # What is faster than the roofline shows that the roofline was measured while the device did something else.
        if self.best is not None and self.bound and abs(self.best / self.bound - 1) <= NOISE:
            self.done = "at its roofline"
        elif self.stale >= PATIENCE:
            self.done = f"no gain in {PATIENCE} trials"

    def expected_gain(self) -> float:
        """What a further trial gains the network: what the last ones did, or its share of what is left to the roofline,
        whichever is more (as Ansor's task scheduler has it, Zheng et al. 2020, section 6)."""
        assert self.best is not None
        left = self.best - (self.bound or 0.5 * self.best)
        return self.task.times * max(self.recent, left / self.spent)


def next_standing(standings: Iterable[Standing]) -> Standing | None:
    """The one to try next; those that nothing is known of come first, the one that counts most in the network before
    others. None where all wait or are done."""
    free = [standing for standing in standings if not standing.waiting and not standing.done]
    fresh = [standing for standing in free if standing.spent == 0]
    if fresh:
        return max(fresh, key=lambda standing: standing.task.times * (standing.bound or 0.0))
    return max(free, key=Standing.expected_gain, default=None)
