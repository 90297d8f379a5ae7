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
        """By the default's cost in the run that measured them: units of runs differ, and clocks do."""
        self._early: list[tuple[Decisions, float]] = []
        self._costs: dict[Decisions, float] = {}
        self._next: list[Tiles] = []
        self._tiles: dict[Decisions, Tiles | None] = {}
        self._seen: dict[Decisions, tuple[float, np.ndarray]] = {}
        self._incumbent = None if incumbent is None else decisions_of(task.spec, task.target, incumbent)
        sizes = [len(knob.choices) for knob in knobs(task.spec, task.target)]
        default = decisions_of(task.spec, task.target, task.default)
        self._first = tuple(dict.fromkeys(each for each in (default, self._incumbent) if each is not None))
        if default is None or max(sizes, default=1) == 1:
            standing.done = "nothing to choose"
            return
        self._default = default
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") + len(self._earlier)
        module = workload(key, definition)
        self._evolution = Evolution(module, sizes, self._fits, self._score, database, self._earlier, seed)
        for decisions, ratio in self._earlier.items():
            self._learn(decisions, ratio)

    @property
    def earlier(self) -> int:
        """Trials of earlier runs."""
        return len(self._earlier)

    @property
    def again(self) -> int:
        """How many of them are measured again before anything else: the default, and what a table has."""
        return sum(decisions in self._earlier for decisions in self._first)

    def is_new(self, tiles: Tiles) -> bool:
        """Whether no earlier run has tried them."""
        return self._decisions(tiles) not in self._earlier

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
        tiles = map(self._of, [*(self._first if first else ()), *proposed])
        return [each for each in dict.fromkeys(tiles) if each is not None]

    def take(self, outcome: Outcome, trial: int) -> bool:
        """Counts an outcome, the run's `trial`-th; answers whether it is the best."""
        tiles, cost, standing = outcome.candidate.tiles, outcome.cost, self.standing
        decisions = self._decisions(tiles)
        began = standing.default is None and decisions == self._default
        better = standing.take(tiles, cost, trial)
        if cost is not None:
            self._costs[decisions] = cost
        # That a device was lost may say nothing of the candidate: another run tries it again.
        self._tell(decisions, cost, outcome.failure is not None and outcome.failure.kind == "lost")
        if began and cost is not None:
            self._resume(cost)
        return better and standing.best_tiles == tiles

    def finalists(self) -> list[Tiles]:
        """The default, what is nearly as fast as the best, and what a table has; nothing where there is but the
        default."""
        standing, default = self.standing, self.standing.task.default
        if standing.default is None:
            return []
        best = sorted((cost, decisions) for decisions, cost in self._costs.items() if decisions != self._default)
        near = [decisions for cost, decisions in best[:FINALISTS] if cost <= (1 + CLOSE) * best[0][0]]
        rivals = near if standing.best_tiles != default else []
        if self._incumbent in self._costs and self._incumbent != self._default:
            rivals = [*rivals, self._incumbent]
        found = [tiles for tiles in map(self._of, dict.fromkeys(rivals)) if tiles is not None]
        return [default, *found] if found else []

    def predicted(self, tiles: Tiles) -> float:
        """The predicted time of tiles of the space by that of the default."""
        return self._predicted(self._decisions(tiles))

    def _decisions(self, tiles: Tiles) -> Decisions:
        decisions = decisions_of(self._spec, self._target, tiles)
        assert decisions is not None, tiles
        return decisions

    def _tell(self, decisions: Decisions, cost: float | None, lost: bool) -> None:
        """Writes an outcome by the default's cost; where another device has that still under way, as soon as it is
        known."""
        default = self.standing.default
        if cost is None:
            self._evolution.tell(decisions, None, written=not lost)
        elif default is None:
            self._evolution.tell(decisions, 1.0, written=False)
            self._early.append((decisions, cost))
        else:
            early, self._early = self._early, []
            for each, its in ((decisions, cost), *early):
                self._evolution.tell(each, its / default)
                self._learn(each, its / default)

    def _resume(self, default: float) -> None:
        """Counts what earlier runs measured, in the unit of this one, but for what is measured again."""
        for decisions, ratio in self._earlier.items():
            tiles = self._of(decisions)
            if tiles is None or decisions in self._first:
                continue
            cost = None if ratio is None else ratio * default
            if cost is not None:
                self._costs[decisions] = cost
            self.standing.take(tiles, cost, 0)

    def _learn(self, decisions: Decisions, ratio: float | None) -> None:
        if ratio is not None and self._fits(decisions):
            self._learned.add(self._features(decisions)[1], ratio, self._predicted(decisions))

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
