"""How fast a library is, as a share of what the cores can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from mncc.report.machine import Machine
from mncc.report.numbers import plural, short_count
from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Timing:
    """One engine at a number of threads. Milliseconds of CPU time at one thread, of wall time otherwise.

    `fma_peak_gflops` is the peak of that many cores, measured in the same run; None where the CPU's is not known.
    `difference` is the largest one from the outputs of mncc's library, as a share of their largest element.
    """

    engine: str
    threads: int
    median_ms: float
    min_ms: float
    percent_of_fma_peak: float | None
    runs: int
    fma_peak_gflops: float | None
    version: str = ""
    difference: float = 0.0


@dataclass(frozen=True)
class KernelTime:
    """One kernel inside whole runs on one thread. `lost_ms` is what it takes beyond its multiply-adds at the peak."""

    name: str
    rows: tuple[str, ...]
    macs: int
    median_ms: float
    gflops: float
    percent_of_fma_peak: float | None
    lost_ms: float


@dataclass(frozen=True)
class BenchReport:
    """The answer of `mncc bench`."""

    network: str
    target: str
    device: str
    macs: int
    fma_peak_gflops: float | None
    """Of one core."""
    results: tuple[Timing, ...]
    missing: tuple[tuple[str, str], ...] = ()
    """Engines that were asked for and cannot be measured, each with the reason."""
    profile: tuple[KernelTime, ...] = ()
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    """The network's parameters."""
    weights: str = ""
    """Where they came from: a file's name or `random:0`."""
    machine: Machine | None = None
    tuned_kernels: int = 0
    """Kernels whose tiles are from a table of `mncc tune`, and not the cost model's."""

    def json(self) -> str:
        """The report as one JSON object."""
        content = asdict(self)
        content["missing"] = [{"engine": engine, "reason": reason} for engine, reason in self.missing]
        return json.dumps(content, indent=2)

    def tables(self) -> tuple[Group, ...]:
        """The timings and, where it was asked for, the profile."""
        return (self.table(), self.profile_table()) if self.profile else (self.table(),)

    def table(self) -> Group:
        """A line an engine and number of threads, and below them why others are missing."""
        from rich.console import Group
        from rich.text import Text

        rows = [
            (
                f"{t.engine} {t.version}".strip(),
                str(t.threads),
                "CPU" if t.threads == 1 else "wall",
                f"{t.median_ms:.3f}",
                f"{t.min_ms:.3f}",
                _percent(t.percent_of_fma_peak),
                _gflops(t.fma_peak_gflops),
                str(t.runs),
                "" if t.engine == "mncc" else f"{t.difference:.0e}",
            )
            for t in self.results
        ]
        where = "" if self.device == "local" else f" on {self.device}"
        tuned = f", tiles of {plural(self.tuned_kernels, 'kernel')} tuned" if self.tuned_kernels else ""
        title = f"{self.network} for {self.target}{where}, {short_count(self.macs)} multiply-adds{tuned}"
        columns = ("engine", ">threads", "time", ">median ms", ">min ms", ">of FMA peak", ">peak GFLOP/s", ">runs")
        timings = table(title, (*columns, ">difference"), rows)
        return Group(timings, *(Text(f"{engine} is missing: {reason}") for engine, reason in self.missing))

    def profile_table(self) -> Group:
        """A line a kernel, most lost time first."""
        rows = [
            (
                k.name,
                "; ".join(k.rows),
                short_count(k.macs),
                f"{k.median_ms:.3f}",
                f"{k.gflops:.1f}",
                _percent(k.percent_of_fma_peak),
                f"{k.lost_ms:.3f}",
            )
            for k in self.profile
        ]
        columns = ("kernel", "~rows", ">multiply-adds", ">median ms", ">GFLOP/s", ">of FMA peak", ">lost ms")
        macs, spent, lost = (sum(getattr(k, of) for k in self.profile) for of in ("macs", "median_ms", "lost_ms"))
        total = ("", "", short_count(macs), f"{spent:.3f}", "", "", f"{lost:.3f}")
        return table("kernels on one thread, most lost time first", columns, rows, total)


def percent_of_peak(macs: int, milliseconds: float, peak_gflops: float | None) -> float | None:
    """2 x MACs / (time x peak) in percent; None where no peak is known or nothing is multiplied."""
    if not peak_gflops or not macs or milliseconds <= 0:
        return None
    return 100 * 2 * macs / (milliseconds * 1e-3 * peak_gflops * 1e9)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def _gflops(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
