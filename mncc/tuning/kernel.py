"""The search of one kernel: its standing, MetaSchedule's evolution of its decisions, and what earlier runs know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from mncc.kernels.space import decisions_of, knobs, tiles_of
from mncc.tuning.database import Database
from mncc.tuning.evolution import Decisions, Evolution, workload
from mncc.tuning.learned import Learned, features
from mncc.tuning.share import Standing
from mncc.tuning.task import Candidate, Outcome, Tiles

FINALISTS = 3
CLOSE = 0.03
"""Of the best's time: finalists are not slower by more."""


class Kernel:
    """What is known and tried of one kernel; `key` tells it from all others in the database, `incumbent` are the tiles
    that a table has for it."""

    def __init__(
        self,
        standing: Standing,
        key: str,
        definition: str,
        database: Database,
        learned: Learned,
        incumbent: Tiles | None = None,
    ) -> None:
        task = standing.task
        self.standing, self._learned = standing, learned
        self._spec, self._target = task.spec, task.target
        self._earlier = dict(database.known(key))
        self._costs: dict[Decisions, float] = {}
        self._next: list[Tiles] = []
        self._tiles: dict[Decisions, Tiles | None] = {}
        self._seen: dict[Decisions, tuple[float, np.ndarray]] = {}
        in_space = incumbent is not None and decisions_of(task.spec, task.target, incumbent) is not None
        self._first = (task.default, incumbent) if in_space else (task.default,)
        sizes = [len(knob.choices) for knob in knobs(task.spec, task.target)]
        default = decisions_of(task.spec, task.target, task.default)
        if default is None or max(sizes, default=1) == 1:
            standing.done = "nothing to choose"
            return
        self._default = default
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") + len(self._earlier)
        module = workload(key, definition)
        self._evolution = Evolution(module, sizes, self._fits, self._score, database.handle, self._earlier, seed)
        for decisions, cost in self._earlier.items():
            self._learn(decisions, cost, self._earlier.get(default))

    @property
    def earlier(self) -> int:
        """Trials of earlier runs."""
        return len(self._earlier)

    def batch(self, most: int) -> list[Candidate]:
        """What to measure next, at most so many; the default tiles before anything else, and what a table has. Sets the
        standing's `done` where nothing is left, or MetaSchedule fails."""
        if not self._next:
            self._next = self._proposed()
        batch, self._next = self._next[:most], self._next[most:]
        return [Candidate(self.standing.task, tiles) for tiles in batch]

    def _proposed(self) -> list[Tiles]:
        first = self.standing.default is None
        try:
            proposed = self._evolution.propose()
        except RuntimeError as error:
            self.standing.done = f"MetaSchedule failed: {(str(error).strip().splitlines() or ['?'])[-1][:100]}"
            proposed = []
        if not proposed and not self.standing.done and not first:
            self.standing.done = "every choice tried"
        tiles = [*(self._first if first else ()), *map(self._of, proposed)]
        return [each for each in dict.fromkeys(tiles) if each is not None]

    def take(self, outcome: Outcome, trial: int) -> bool:
        """Counts an outcome, the run's `trial`-th; answers whether it is the best."""
        tiles, cost, standing = outcome.candidate.tiles, outcome.cost, self.standing
        decisions = self._decisions(tiles)
        began = standing.default is None and decisions == self._default
        better = standing.take(tiles, cost, trial)
        # That a device was lost may say nothing of the candidate: another run tries it again.
        lost = outcome.failure is not None and outcome.failure.kind == "lost"
        self._evolution.tell(decisions, cost, written=not lost)
        if cost is not None:
            self._costs[decisions] = cost
        if began and cost is not None:
            self._resume(cost)
        self._learn(decisions, cost, standing.default)
        return better and standing.best_tiles == tiles

    def finalists(self) -> list[Tiles]:
        """The default, and what is nearly as fast as the best; nothing where the default is the best."""
        standing = self.standing
        if standing.best is None or standing.best_tiles == standing.task.default:
            return []
        best = sorted((cost, decisions) for decisions, cost in self._costs.items() if decisions != self._default)
        near = [decisions for cost, decisions in best[:FINALISTS] if cost <= (1 + CLOSE) * best[0][0]]
        return [standing.task.default, *(tiles for tiles in map(self._of, near) if tiles is not None)]

    def predicted(self, tiles: Tiles) -> float:
        """The predicted time of tiles of the space by that of the default."""
        return self._predicted(self._decisions(tiles))

    def _decisions(self, tiles: Tiles) -> Decisions:
        decisions = decisions_of(self._spec, self._target, tiles)
        assert decisions is not None, tiles
        return decisions

    def _resume(self, default: float) -> None:
        """Counts what earlier runs measured, in the unit of this one: their default's time is not exactly ours."""
        before = self._earlier.pop(self._default, None)
        scale = default / before if before else 1.0
        for decisions, cost in self._earlier.items():
            tiles = self._of(decisions)
            if tiles is None:
                continue
            if cost is not None:
                self._costs[decisions] = cost * scale
            self.standing.take(tiles, None if cost is None else cost * scale, 0)

    def _learn(self, decisions: Decisions, cost: float | None, default: float | None) -> None:
        if cost is not None and default is not None and self._fits(decisions):
            self._learned.add(self._features(decisions)[1], cost / default, self._predicted(decisions))

    def _predicted(self, decisions: Decisions) -> float:
        return self._features(decisions)[0] / self._features(self._default)[0]

    def _score(self, vectors: Sequence[Decisions]) -> list[float]:
        """The default's time by that of others: measured, or predicted and corrected by what was learned."""
        corrections = self._learned.corrections([self._features(vector)[1] for vector in vectors])
        default, scores = self.standing.default, []
        for vector, correction in zip(vectors, corrections, strict=True):
            cost = self._costs.get(vector)
            if default is not None and vector in self._evolution.known:
                scores.append(default / cost if cost else 0.0)
            else:
                scores.append(1.0 / (self._predicted(vector) * float(correction)))
        return scores

    def _features(self, decisions: Decisions) -> tuple[float, np.ndarray]:
        if decisions not in self._seen:
            self._seen[decisions] = features(self._spec, self._target, self._of(decisions))
        return self._seen[decisions]

    def _fits(self, decisions: Decisions) -> bool:
        return self._of(decisions) is not None

    def _of(self, decisions: Decisions) -> Tiles | None:
        if decisions not in self._tiles:
            self._tiles[decisions] = tiles_of(self._spec, self._target, decisions)
        return self._tiles[decisions]
