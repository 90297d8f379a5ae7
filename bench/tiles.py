"""Measures how good default tiles are: every kernel of a network with other tiles in turn, and what was predicted.

    python -m bench.tiles mobilenet_v2
    python -m bench.tiles mobilenet_v2 --set width=0.75 --target x86-64-v3
    python -m bench.tiles mobilenet_v1 --kernel k03 --most 1000 --candidates all.jsonl

The space is that which mncc/kernels/space.py declares, a knob after the other: the register tiles of two stages hardly
touch one another. Of each knob (a stage's register tile, the cut) the --most values
with the least predicted time are compiled, several kernels in one library, and run in turn; outputs must agree with the
default's to 1e-4 of the largest element. The fastest of each knob are then put together and measured once more beside
the default: what the tables and bench/results/tiles_NETWORK.json show is from this last heat. Kernels that the file has
already, of the same spec, tiles and target, are not measured again, only predicted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.heats import SECONDS, Entrant, build_heat, cut_into_heats, outputs, times
from mncc.devices.peak import PeakMeter
from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.space import decisions_of, neighbours, tiles_of
from mncc.kernels.strassen import StrassenTiles
from mncc.kernels.target import Target
from mncc.kernels.winograd import WinogradTiles
from mncc.language.diagnostic import OutsideError
from mncc.peers.process import choose_cpus, pinned
from mncc.plan import PlannedKernel, make_plan
from mncc.report.console import say, show
from mncc.report.failures import UsageError, guarded
from mncc.report.machine import this_machine
from mncc.report.table import table
from mncc.verbs.job import find_target, load_network, parse_settings

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
MOST = 14
"""Values of a knob that are measured."""
FINALISTS = 4
TOLERANCE = 1e-4
PEAK_SAMPLES, PEAK_MILLISECONDS = 6, 2.0
"""Short ones, of which the best is not held up by anything else, as the least time of a kernel is not."""
COLUMNS = (
    "kernel",
    ">default us",
    ">of peak",
    ">predicted us",
    ">off by",
    ">best us",
    ">default / best",
    "~best tiles",
)


@dataclass(frozen=True)
class Timed:
    """An entrant's times in a heat: the least and the median, in microseconds, and the least by that of the default."""

    entrant: Entrant
    least: float
    median: float
    ratio: float


@dataclass(frozen=True)
class Found:
    """What is known of one kernel; times are microseconds, `peak` the FMA peak's GFLOP/s beside them."""

    kernel: str
    same: tuple[str, ...]
    """Other kernels of the network with the same spec."""
    key: str
    macs: int
    peak: float
    predicted: float
    default: float
    default_median: float
    best: float
    best_median: float
    candidates: int
    default_tiles: str
    best_tiles: str

    @property
    def ratio(self) -> float:
        """The default's time by the best one's."""
        return self.default / self.best

    @property
    def off(self) -> float:
        """The share by which the prediction is too long."""
        return self.predicted / self.default - 1

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        share = 2e-3 * self.macs / (self.default * self.peak)
        best = "" if self.best_tiles == self.default_tiles else self.best_tiles
        names = " ".join((self.kernel.split("_")[0], *(name.split("_")[0] for name in self.same)))
        numbers = (f"{self.default:.1f}", f"{share:.1%}", f"{self.predicted:.1f}", f"{self.off:+.1%}")
        return (names, *numbers, f"{self.best:.1f}", f"{self.ratio:.3f}", best)


def main() -> int:
    """The program; answers its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.tiles", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("network", help="a file of examples/ without .mn, or any .mn file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as for mncc build")
    parser.add_argument("--target", default="native")
    parser.add_argument("--kernel", action="append", default=[], metavar="k03", help="only these")
    parser.add_argument("--most", type=int, default=MOST, help="values of a knob that are measured")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a heat")
    parser.add_argument("--cpu", type=int, help="the one to measure on; by default the first")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that compile")
    parser.add_argument("--json", type=Path, help="the results' file")
    parser.add_argument("--candidates", type=Path, help="a file to add a line for every candidate to")
    options = parser.parse_args()
    found = run(options)
    title = f"{options.network} for {options.target}: {summary(found)}"
    show(table(title, COLUMNS, [kernel.cells() for kernel in found]))
    return 0


def run(options: argparse.Namespace) -> list[Found]:
    """Every kernel that has tiles to choose, measured or found in the file. Raises DiagnosticError, OutsideError."""
    settings, target = parse_settings(options.set), find_target(options.target)
    path = Path(options.network)
    network = load_network(path if path.suffix == ".mn" else ROOT / "examples" / f"{path}.mn", settings)
    name = "_".join((path.stem, *(f"{key}{value}" for key, value in settings.items())))
    file = options.json or RESULTS / f"tiles_{name}.json"
    known = read(file)
    measured = {key: value for key, value in known.get(target.name, {}).items() if key != "kernels"}
    before = {entry["kernel"]: entry for entry in known.get(target.name, {}).get("kernels", ())}
    found = []
    context = multiprocessing.get_context("spawn")
    with PeakMeter() as meter, ProcessPoolExecutor(options.workers, context) as pool:
        for kernel, same in selected(make_plan(network, target).kernels, options.kernel):
            entry = before.get(kernel.name)
            if entry and entry["key"] == key_of(kernel, target):
                predicted = predicted_us(kernel, target, entry["peak"])
                found.append(Found(**{**entry, "same": tuple(entry["same"]), "predicted": predicted}))
            else:
                found.append(search(kernel, same, target, Arena(meter, pool, options)))
                measured = {"measured": time.strftime("%Y-%m-%d"), "machine": asdict(this_machine())}
                say("  ".join(found[-1].cells()))
            before[kernel.name] = asdict(found[-1])
            known[target.name] = {**measured, "kernels": list(before.values())}
            file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return found


def read(file: Path) -> dict[str, Any]:
    """The results' file, by targets; empty where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def distinct(kernels: Sequence[PlannedKernel]) -> Iterator[tuple[PlannedKernel, tuple[str, ...]]]:
    """Each kernel that has tiles to choose once, with the names of those that are the same."""
    seen: dict[object, list[PlannedKernel]] = {}
    for kernel in kernels:
        if isinstance(kernel.spec, Chain):
            seen.setdefault(kernel.spec, []).append(kernel)
    for first, *others in seen.values():
        yield first, tuple(other.name for other in others)


def selected(kernels: Sequence[PlannedKernel], wanted: Sequence[str]) -> list[tuple[PlannedKernel, tuple[str, ...]]]:
    """Those asked for by their own number or that of one that is the same; all where none is. Raises UsageError."""
    found = list(distinct(kernels))
    numbers = [{name.split("_")[0] for name in (kernel.name, *same)} for kernel, same in found]
    unknown = sorted(set(wanted) - set().union(*numbers))
    if unknown:
        known = ", ".join(sorted(set().union(*numbers)))
        raise UsageError(f"no kernel with tiles to choose is {', '.join(unknown)}", f"there are {known}")
    return [one for one, own in zip(found, numbers, strict=True) if not wanted or own & set(wanted)]


def key_of(kernel: PlannedKernel, target: Target) -> str:
    """Changes where what is measured does: a kernel, its default tiles, or the code's instructions."""
    return hashlib.sha256(repr((kernel.spec, kernel.tiles, target.name, target.cpu)).encode()).hexdigest()[:16]


def predicted_us(kernel: PlannedKernel, target: Target, peak: float) -> float:
    """What the cost model says now, at a peak in GFLOP/s."""
    return round(kernel.predict(target).slots.total * 2e-3 * target.lanes / peak, 2)


@dataclass(frozen=True)
class Arena:
    """Where heats are run."""

    meter: PeakMeter
    pool: Executor
    options: argparse.Namespace

    def race(
        self, heats: Sequence[Sequence[Entrant]], target: Target, seconds: float
    ) -> tuple[list[list[Timed]], float]:
        """The times of all heats and the highest FMA peak between them. The first entrant of a heat is the default,
        and so is its last. Raises OutsideError."""
        cpu = self.options.cpu
        with tempfile.TemporaryDirectory(prefix="mncc-tiles-") as folder:
            folders = [Path(folder, str(number)) for number in range(len(heats))]
            list(self.pool.map(build_heat, heats, [target] * len(heats), folders))
            with pinned(choose_cpus(1) if cpu is None else (cpu,)):
                peaks, done = [self.peak()], []
                for heat, where in zip(heats, folders, strict=True):
                    check(heat, where)
                    done.append(timed(heat, times(heat, where, seconds)))
                    peaks.append(self.peak())
        return done, max(peaks)

    def peak(self) -> float:
        """GFLOP/s of this core now. Raises OutsideError where they cannot be measured."""
        samples = [self.meter.sample(1, PEAK_MILLISECONDS) or 0.0 for _ in range(PEAK_SAMPLES)]
        if not any(samples):
            raise OutsideError("this processor's FMA peak is not known", "measure on another machine")
        return max(samples)


def check(heat: Sequence[Entrant], folder: Path) -> None:
    """Raises OutsideError where an entrant computes something else than the first."""
    first, *others = outputs(heat, folder)
    for entrant, other in zip(heat[1:], others, strict=True):
        worst = float(np.abs(other - first).max() / np.abs(first).max())
        if not worst <= TOLERANCE:
            raise OutsideError(f"{text_of(entrant.tiles)} is wrong: {worst:.0e} from the default's output")


def timed(heat: Sequence[Entrant], nanoseconds: Sequence[Sequence[int]]) -> list[Timed]:
    """Every entrant once; the default has run twice a round."""
    *rest, last = nanoseconds
    merged = [[*rest[0], *last], *rest[1:]]
    default = min(merged[0])
    return [
        Timed(entrant, 1e-3 * min(ns), 1e-3 * statistics.median(ns), min(ns) / default)
        for entrant, ns in zip(heat[:-1], merged, strict=True)
    ]


def search(kernel: PlannedKernel, same: tuple[str, ...], target: Target, arena: Arena) -> Found:
    """The heats of one kernel, and the last one."""
    spec, default = kernel.spec, Entrant(kernel.spec, kernel.tiles)
    knobs = chosen(spec, kernel.tiles, target, arena.options.most)
    entrants = [Entrant(spec, tiles) for values in knobs.values() for tiles in values]
    heats = [(*heat, default) for heat in cut_into_heats(entrants, [default])]
    raced, _ = arena.race(heats, target, arena.options.seconds) if heats else ([], 0.0)
    seen = [one for heat in raced for one in heat[1:]]
    final = finalists(spec, target, kernel.tiles, {one.entrant.tiles: one.ratio for one in seen}, knobs)
    heat = (default, *(Entrant(spec, tiles) for tiles in final), default)
    ((first, *rest),), peak = arena.race([heat], target, 2 * arena.options.seconds)
    best = min((first, *rest), key=lambda one: one.least)
    if arena.options.candidates:
        write_candidates(arena.options.candidates, kernel, target, [first, *rest, *seen], peak)
    return Found(
        kernel=kernel.name,
        same=same,
        key=key_of(kernel, target),
        macs=spec.macs,
        peak=round(peak, 2),
        predicted=predicted_us(kernel, target, peak),
        default=round(first.least, 2),
        default_median=round(first.median, 2),
        best=round(best.least, 2),
        best_median=round(best.median, 2),
        candidates=len(entrants),
        default_tiles=text_of(kernel.tiles),
        best_tiles=text_of(best.entrant.tiles),
    )


def chosen(spec: Chain, tiles: Any, target: Target, most: int) -> dict[int, list[Any]]:
    """Of every knob the values that are measured: those with the least predicted time."""
    found: dict[int, list[Any]] = {}
    for index, other in neighbours(spec, target, tiles):
        found.setdefault(index, []).append(other)
    predict = family_of(spec).predict
    return {
        index: sorted(values, key=lambda value: predict(spec, value, target).slots.total)[:most]
        for index, values in found.items()
    }


def finalists(
    spec: Any, target: Target, default: Any, ratios: Mapping[Any, float], knobs: Mapping[int, Sequence[Any]]
) -> list[Any]:
    """The fastest tiles, and the fastest value of every knob put together, where it is faster than the default's."""
    decisions = list(decisions_of(spec, target, default) or ())
    for index, values in knobs.items():
        best = min(values, key=lambda value: ratios[value], default=default)
        if ratios.get(best, 1.0) < 1.0:
            decisions[index] = (decisions_of(spec, target, best) or ())[index]
    joined = tiles_of(spec, target, decisions)
    found = sorted(ratios, key=lambda value: ratios[value])[:FINALISTS]
    return list(dict.fromkeys((*found, *([joined] if joined not in (None, default) else []))))


def text_of(tiles: Any) -> str:
    """Tiles on a line: `2/1 rows, 1x14x32` is a cut into steps of two rows and bands of one, and a stage's register
    tile of 1x14 pixels by 32 channels; `/8` behind it are lanes that are fewer than its channels."""
    if isinstance(tiles, WinogradTiles):
        tile = tiles.product
        return f"{tiles.strip} {tiles.split}, {tile.cols}x{tile.channels}/{tile.lanes}"
    strassen = isinstance(tiles, StrassenTiles)
    stages = (tiles.depthwise, tiles.product) if strassen else tiles.stages
    line = " ".join(f"{tile.rows}x{tile.cols}x{tile.channels}/{tile.lanes}" for tile in stages)
    return f"strassen, {line}" if strassen else f"{tiles.strip}/{tiles.band} {tiles.split}, {line}"


def write_candidates(file: Path, kernel: PlannedKernel, target: Target, seen: Sequence[Timed], peak: float) -> None:
    """A JSON line a candidate: for calibrating the cost model."""
    predict = family_of(kernel.spec).predict
    with file.open("a", encoding="utf-8") as lines:
        for one in seen:
            slots = predict(kernel.spec, one.entrant.tiles, target).slots.total
            facts = {
                "target": target.name,
                "kernel": kernel.name,
                "tiles": text_of(one.entrant.tiles),
                "least_us": round(one.least, 2),
                "median_us": round(one.median, 2),
                "by_default": round(one.ratio, 4),
                "predicted_us": round(slots * 2e-3 * target.lanes / peak, 2),
            }
            lines.write(json.dumps(facts) + "\n")


def summary(found: Sequence[Found]) -> str:
    """The two numbers that the tiles are judged by."""
    if not found:
        return "no kernel has tiles to choose"
    ratios, off = [kernel.ratio for kernel in found], [abs(kernel.off) for kernel in found]
    return (
        f"default / best {statistics.median(ratios):.3f} in the median, {max(ratios):.3f} at worst; "
        f"predictions off by {statistics.median(off):.1%} in the median, {max(off):.1%} at worst"
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
