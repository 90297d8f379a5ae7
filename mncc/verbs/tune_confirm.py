"""What `mncc tune` found against what a table has and the default tiles, in the whole network: which tiles remain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mncc.kernels.tuned import Table
from mncc.report.progress import Progress
from mncc.verbs.tune_whole import Whole, measure_in_turn

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.kernels.chain import Chain
    from mncc.kernels.tuned import TunedKernel
    from mncc.verbs.job import Job

NO_GAIN = 0.003
"""Of a time: tuned tiles that gain less in the network are left out, for nobody could measure that again."""
HEATS = 3
"""How often the network is measured again with what has not lost, at most."""
DRIFT = 0.05
"""Of the network's time: where it changed by more while it was measured, that decides nothing."""
AGAIN = 2
"""How often the network is measured again because of that; then tiles of an earlier run remain, and nothing new."""

TUNED, EARLIER = "tuned", "tuned before, which is as fast"
DRIFTED = "tuned before; the device drifts too much to decide"
DRIFTED_DEFAULT = "keeps its default: the device drifts too much to decide"
NOT_REACHED, NOT_REACHED_TUNED = "not reached", "not reached; tuned before"
TIMED = "keeps tiles that were tuned by time"
DEFAULT, NO_MEASURABLE_GAIN = "keeps its default", "keeps its default: no measurable gain"
DEFAULT_FASTER = "keeps its default, which is faster in the network"
NETWORK_SLOWER = "keeps its default: the network as a whole gains nothing"


@dataclass
class Contest:
    """The tiles of a network's kernels, by their specs, while it is decided which remain. `chosen` begins as what the
    search found; `before` is what a table has; `reached` are those that were searched at all."""

    job: Job
    device: Device
    chosen: dict[Chain, TunedKernel]
    before: Mapping[Chain, TunedKernel]
    reached: frozenset[Chain]
    counted: bool
    """Whether instructions are counted."""
    states: dict[Chain, str] = field(default_factory=dict)
    """What became of each kernel, in words."""
    costs: dict[Chain, tuple[float, float]] = field(default_factory=dict)
    """What all kernels of a spec cost the network with default tiles and with those that remain."""
    wholes: tuple[Whole, Whole] = (Whole(0.0, ()), Whole(0.0, ()))
    """The network with default tiles, and with those that remain."""
    drifted: float | None = None
    """By how much the network's time drifted, as a share, where that was too much to decide anything."""
    _again: int = AGAIN

    def decide(self, specs: Sequence[Chain], progress: Progress) -> None:
        """Measures the network with default tiles, with those found and with those of a table in turn, until what is
        left loses to neither; where each kernel gains and the network does not, what is new is given up, and so it is
        where the device drifts. Raises as `measure_in_turn` does."""
        rivals = self._line_up(specs)
        least = 0.0 if self.counted else NO_GAIN
        changed = self._keep_rivals(rivals, self._measure(rivals, progress), least)
        fixed = {spec for spec in self.chosen if self.states[spec] not in (TUNED, EARLIER)}
        self._drop_losers(fixed, changed, least, progress)
        default, tuned = self.wholes
        new = [spec for spec in self.chosen if spec not in fixed and self.chosen[spec] is not self.before.get(spec)]
        if self.drifted is not None:
            self._give_up(new)
            self._measure({}, progress)
            return
        new = [spec for spec in new if spec not in self.before]
        if new and tuned.total >= default.total:
            for spec in new:
                self.states[spec] = NETWORK_SLOWER
                del self.chosen[spec]
            self._measure({}, progress)

    def _give_up(self, new: Sequence[Chain]) -> None:
        """Takes what was there before the search."""
        for spec in new:
            self.states[spec] = DRIFTED_DEFAULT
            del self.chosen[spec]
        for spec in self.before:
            if self.states.get(spec) in (TUNED, EARLIER, DRIFTED_DEFAULT):
                self.chosen[spec], self.states[spec] = self.before[spec], DRIFTED

    def _drop_losers(self, fixed: set[Chain], changed: bool, least: float, progress: Progress) -> None:
        """Takes default tiles where those chosen lose to them, until none do; `changed` where these were not measured
        together yet."""
        for _ in range(HEATS):
            if self.drifted is not None:
                return
            lost = [spec for spec in self.chosen if spec not in fixed and self._loses(spec, least)]
            for spec in lost:
                default, tuned = self.costs[spec]
                self.states[spec] = NO_MEASURABLE_GAIN if tuned < default else DEFAULT_FASTER
                del self.chosen[spec]
            if not lost and not changed:
                return
            # What remains is measured again, by itself: kernels fetch ahead for one another.
            self._measure({}, progress)
            changed = False

    def _line_up(self, specs: Sequence[Chain]) -> dict[Chain, TunedKernel]:
        """Takes a table's tiles where nothing is to be decided, or nothing better was found; answers those that the
        tiles found have to beat."""
        rivals = {}
        for spec in specs:
            known = self.before.get(spec)
            self.states[spec] = TUNED if spec in self.chosen else DEFAULT if spec in self.reached else NOT_REACHED
            if known is None:
                continue
            if self.counted and known.unit == "s":
                self.chosen[spec], self.states[spec] = known, TIMED
            elif spec not in self.reached:
                self.chosen[spec], self.states[spec] = known, NOT_REACHED_TUNED
            elif spec not in self.chosen:
                self.chosen[spec], self.states[spec] = known, TUNED
            elif self.chosen[spec].tiles != known.tiles:
                rivals[spec] = known
        return rivals

    def _measure(self, rivals: Mapping[Chain, TunedKernel], progress: Progress) -> Mapping[Chain, float]:
        """Measures the network with default tiles and with those chosen; answers what the rivals of these cost it. Sets
        `drifted` where that decides nothing."""
        tables = [self.chosen, {**self.chosen, **rivals}] if rivals else [self.chosen] if self.chosen else []
        jobs = [replace(self.job, tuned={})]
        jobs += [replace(self.job, tuned={self.job.target.name: Table(table)}) for table in tables]
        first, *others = self._steadiest(jobs, progress)
        # Where nothing is chosen there is nothing to compare.
        second, third = (*others, first, first)[:2]
        self.wholes, self.costs = (first, second), self._by_spec(first, second)
        return {spec: tuned for spec, (_, tuned) in self._by_spec(first, third).items()}

    def _steadiest(self, jobs: Sequence[Job], progress: Progress) -> tuple[Whole, ...]:
        """Measures again, if there is anything to compare, while the network's own time drifts and patience lasts."""
        found = measure_in_turn(jobs, self.device, progress)
        while self._again and len(jobs) > 1 and found[0].drift > DRIFT:
            self._again -= 1
            found = min(found, measure_in_turn(jobs, self.device, progress), key=lambda wholes: wholes[0].drift)
        if self.drifted is None and len(jobs) > 1 and found[0].drift > DRIFT:
            self.drifted = found[0].drift
        return found

    def _by_spec(self, default: Whole, tuned: Whole) -> dict[Chain, tuple[float, float]]:
        found: dict[Any, tuple[float, float]] = {}
        for kernel, first, second in zip(self.job.plan().kernels, default.kernels, tuned.kernels, strict=True):
            before = found.get(kernel.spec, (0.0, 0.0))
            found[kernel.spec] = (before[0] + first, before[1] + second)
        return found

    def _keep_rivals(self, rivals: Mapping[Chain, TunedKernel], costs: Mapping[Chain, float], least: float) -> bool:
        """A table's tiles remain where those found do not beat them; answers whether any do."""
        kept = [spec for spec in rivals if self.costs[spec][1] >= (1 - least) * costs[spec]]
        for spec in kept:
            self.chosen[spec], self.states[spec] = rivals[spec], EARLIER
            self.costs[spec] = (self.costs[spec][0], costs[spec])
        return bool(kept)

    def _loses(self, spec: Chain, least: float) -> bool:
        default, tuned = self.costs[spec]
        return tuned >= (1 - least) * default
