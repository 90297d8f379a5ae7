"""What `mncc tune` shows: a live table while it searches, plain lines where there is no terminal, and the gain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mncc.report.console import err, out, say
from mncc.report.numbers import percent, plural, short_count
from mncc.report.table import fitting, table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from mncc.tuning.search import Search, Trial
    from mncc.tuning.share import Standing
    from mncc.tuning.task import Unit

REDRAWN, SAID = 0.25, 15.0
"""Seconds between two drawings of the live table, and between two plain lines that say how far the search is."""
COLUMNS = ("kernel", ">times", ">default", ">best", ">gain", ">roofline", ">trials", ">failed", "")
SPARE = (">times", ">failed", ">default")
"""Columns that a narrow terminal does without, the first before others."""
WIDE = ("k00_bottleneck", "10", "123.4 us", "123.4 us", "10.0 %", "100.0 %", "1000", "0", "no gain in 100 trials")
"""A row as wide as most: columns shall not come and go while rows are filled."""
AROUND_ROWS = 7
"""Lines of a terminal that are none of the table's rows."""


def cost_text(cost: float | None, unit: Unit) -> str:
    """A kernel's cost in a table: microseconds, or how many instructions, as its title says."""
    if cost is None:
        return "-"
    return short_count(cost) if unit == "instructions" else f"{1e6 * cost:.4g} us"


def _told(cost: float | None, unit: Unit) -> str:
    """A cost outside of a table."""
    return cost_text(cost, unit) + (" instructions" if unit == "instructions" else "")


def state_text(standing: Standing) -> str:
    """What is being done about a kernel."""
    if standing.done:
        return standing.done
    return "measuring" if standing.waiting else ""


def standings_table(
    title: str, standings: Sequence[Standing], unit: Unit, width: int = 240, height: int = 1000
) -> Group:
    """A line a kernel, as far as a terminal of that size has room: those that are finished, and that take least of the
    network's time, do without one. `roofline` is the share of it that the best reaches."""
    shown = _that_fit(standings, height - AROUND_ROWS)
    rows: list[tuple[str, ...]] = []
    for standing in shown:
        share = standing.bound / standing.best if standing.bound and standing.best else None
        costs = (cost_text(standing.default, unit), cost_text(standing.best, unit))
        gain = percent(1 - standing.ratio) if standing.best and standing.default else "-"
        counts = (str(standing.spent), str(standing.failed))
        names = (standing.task.name, str(standing.task.times))
        rows.append((*names, *costs, gain, percent(share), *counts, state_text(standing)))
    if len(shown) < len(standings):
        rows.append((f"and {len(standings) - len(shown)} more", *[""] * (len(COLUMNS) - 1)))
    columns, (*fitted, _) = fitting(COLUMNS, [*rows, WIDE], width, SPARE)
    return table(title, columns, fitted)


def _that_fit(standings: Sequence[Standing], most: int) -> Sequence[Standing]:
    """Of all so many, in their order, one less where not all of them fit."""
    if len(standings) <= max(most, 1):
        return standings
    matter = sorted(standings, key=lambda s: (bool(s.done), -s.task.times * (s.best or s.bound or 0.0)))
    kept = matter[: max(most - 1, 1)]
    return [standing for standing in standings if any(standing is each for each in kept)]


def network_ratio(standings: Sequence[Standing]) -> float:
    """The tuned kernels' time by that of their defaults, all of the network together; 1 where nothing is known."""
    known = [s for s in standings if s.default and s.best]
    default = sum(s.task.times * (s.default or 0.0) for s in known)
    return sum(s.task.times * (s.best or 0.0) for s in known) / default if default else 1.0


class TuneView:
    """A context that shows a search as it goes on: on a terminal a table that is redrawn, else a line for every
    improvement and failure, and now and then one on the whole. `limit` is in seconds."""

    def __init__(self, search: Search, unit: Unit, limit: float | None, trials: int | None) -> None:
        self._search, self._unit, self._limit, self._trials = search, unit, limit, trials
        self._live: Live | None = None
        self._finished: set[str] = set()
        self._phase = ""
        self._drawn = time.monotonic()

    def __enter__(self) -> TuneView:
        if self._search.earlier:
            say(f"goes on behind {plural(self._search.earlier, 'trial')} of earlier runs")
        if err().is_terminal:
            from rich.live import Live

            # Redrawn when there is something new, not by a thread, whose CPU time would be measured too.
            self._live = Live(self._table(), console=err(), auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        else:
            self._say_finished()

    def show(self, trial: Trial) -> None:
        """Tells of a trial."""
        if self._redrawn():
            return
        line = trial_line(trial, self._unit)
        if line:
            say(line)
        self._say_finished()
        if time.monotonic() - self._drawn >= SAID:
            self._drawn = time.monotonic()
            say(self._summary())

    def tell_phase(self) -> None:
        """Tells what the search does when it tries nothing more."""
        if not self._redrawn() and self._search.phase != self._phase:
            self._say_finished()
            say(self._search.phase)
        self._phase = self._search.phase

    def _redrawn(self) -> bool:
        """Whether there is a terminal. Draws its table anew, if that was not done just before."""
        if self._live is not None and time.monotonic() - self._drawn >= REDRAWN:
            self._drawn = time.monotonic()
            self._live.update(self._table(), refresh=True)
        return self._live is not None

    def _say_finished(self) -> None:
        """Tells once of every kernel that nothing more is tried for, and why."""
        for standing in self._search.standings:
            name = standing.task.name
            if standing.done and not standing.waiting and name not in self._finished:
                self._finished.add(name)
                say(f"{name}: {finished_text(standing)}")

    def _table(self) -> Group:
        width, height = err().size
        return standings_table(self._summary(), self._search.standings, self._unit, width, height)

    def _summary(self) -> str:
        many = self._search.trials
        tried = plural(many, "trial") if self._trials is None else f"{many:,} of {plural(self._trials, 'trial')}"
        left = "" if self._limit is None else f", {clock_text(self._limit - self._search.seconds)} left"
        gained = 1 - network_ratio(self._search.standings)
        phase = f"; {self._search.phase}" if self._search.phase else ""
        unit = " instructions" if self._unit == "instructions" else ""
        return f"{tried}, {percent(gained)} less{unit} than the default tiles so far{left}{phase}"


def clock_text(seconds: float) -> str:
    """`12:05`."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02}"


def trial_line(trial: Trial, unit: Unit) -> str:
    """The plain line of a trial; empty where there is nothing to tell."""
    outcome, standing = trial.outcome, trial.standing
    head = f"trial {trial.number}: {standing.task.name}"
    if outcome.failure is not None:
        first = (outcome.failure.text.strip().splitlines() or [""])[0]
        return f"{head}: a candidate failed ({outcome.failure.kind}): {first}"
    if outcome.candidate.tiles == standing.task.default:
        bound = "" if standing.bound is None else f", roofline {_told(standing.bound, unit)}"
        return f"{head}: {_told(outcome.cost, unit)} with the default tiles{bound}"
    if trial.better and standing.ratio < 1:
        return f"{head}: {_told(outcome.cost, unit)}, {percent(1 - standing.ratio)} less than the default tiles"
    return ""


def finished_text(standing: Standing) -> str:
    """Why nothing more is tried for a kernel, and what came of it."""
    if not standing.spent:
        return f"{standing.done}, not reached"
    return f"{standing.done}, {percent(1 - standing.ratio)} gained in {plural(standing.spent, 'trial')}"


@dataclass(frozen=True)
class KernelGain:
    """A kernel with tiles to choose: its cost alone, and in the whole network, with default tiles and with those that
    builds use now; `kept` says whether these are tuned, and `state` what became of it. Costs in the network are of all
    its kernels of this shape."""

    name: str
    times: int
    default: float
    best: float
    network_default: float
    network_tuned: float
    kept: bool
    state: str
    roofline: float | None
    trials: int
    failed: int
    done: str


@dataclass(frozen=True)
class TuneReport:
    """The answer of `mncc tune`. `default` and `tuned` are costs of the whole network, measured in turn."""

    network: str
    target: str
    device: str
    unit: Unit
    kernels: tuple[KernelGain, ...]
    default: float
    tuned: float
    trials: int
    earlier: int
    seconds: float
    drift: float | None
    """The largest change of a reference kernel's time while the search went on, which costs are free of."""
    tuned_table: Path
    database: Path
    drifted: float | None = None
    """By how much the time of the whole network changed while it was measured, where that was too much to decide."""

    def tables(self) -> tuple[Group | str, ...]:
        """The gain by kernel, and what was gained in the whole network."""
        names = ("kernel", ">times", ">default", ">tuned", ">gain", ">roofline", ">trials", ">failed", "~")
        spare = (">failed", ">trials", ">times", ">roofline")
        columns, rows = fitting(names, [self._row(kernel) for kernel in self.kernels], out().width, spare)
        unit = ", in instructions" if self.unit == "instructions" else ""
        title = f"{self.network} for {self.target} on {self.device}, kernels in the whole network{unit}"
        return (table(title, columns, rows), self.verdict())

    def _row(self, kernel: KernelGain) -> tuple[str, ...]:
        tuned = kernel.network_tuned if kernel.kept else kernel.network_default
        gain = percent(1 - tuned / kernel.network_default) if kernel.kept else "-"
        share = kernel.roofline * kernel.times / tuned if kernel.roofline and tuned else None
        costs = (cost_text(kernel.network_default, self.unit), cost_text(tuned, self.unit))
        counts = (str(kernel.trials), str(kernel.failed))
        return (kernel.name, str(kernel.times), *costs, gain, percent(share), *counts, kernel.state)

    def verdict(self) -> str:
        """What was gained, and where it lies."""
        kept = sum(kernel.kept for kernel in self.kernels)
        whole = f"{self._whole(self.default)} with default tiles, {self._whole(self.tuned)} with tuned ones"
        drift = "" if self.drift is None else f"; reference kernels drifted by {percent(self.drift)} at most"
        earlier = f", {self.earlier} of them by earlier runs" if self.earlier else ""
        gained = f"{whole}: {percent(1 - self.tuned / self.default)} gained by {plural(kept, 'kernel')}"
        nothing = f"{self._whole(self.default)} with default tiles; no others were kept"
        kept_in = f"tuned tiles are in {self.tuned_table}, which `mncc build` uses; " if kept else ""
        lines = (
            f"the whole network: {gained if kept else nothing}",
            f"{plural(self.trials, 'trial')}{earlier}, {clock_text(self.seconds)} minutes{drift}",
            f"{kept_in}trials are in {self.database}",
            *self._warning(),
        )
        return "\n".join(lines)

    def _warning(self) -> tuple[str, ...]:
        if self.drifted is None:
            return ()
        help = "the same command measures it again, when the device does nothing else"
        return (f"the network's own time drifted by {percent(self.drifted)}: nothing new was kept; {help}",)

    def _whole(self, cost: float) -> str:
        return short_count(cost) + " instructions" if self.unit == "instructions" else f"{1e3 * cost:.4g} ms"
