"""mncc's search beside plain MetaSchedule, on the same kernel, with the same budget of trials.

    python -m bench.tuning mobilenet_v2 --kernel k05 --trials 64
    python -m bench.tuning mobilenet_v2 --set width=0.75 --kernel k05 --kernel k12 --trials 200

Plain MetaSchedule gets the kernel's convolutions with bias and activation in TE, as one function, and everything of its
own: schedule rules and postprocessors of its CPU target, evolutionary search with the xgboost cost model, its builder
and its runner, on one core. mncc's search goes through the kernel's declared space on this machine. Both begin with
nothing known. In the end the default tiles, the tuned tiles and MetaSchedule's best function run alone, with hot
caches, each on this thread; the table says what came of it and after how many trials each search was within 2 % of its
own best. bench/results/tuning.json keeps all costs in the order in which they were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.heats import Entrant, build_heat, times
from mncc.kernels.chain import Chain, Stage
from mncc.kernels.target import Target
from mncc.peers.process import choose_cpus, pinned
from mncc.report.console import say, show
from mncc.report.failures import UsageError, guarded
from mncc.report.machine import this_machine
from mncc.report.progress import Progress
from mncc.report.table import table
from mncc.tuning.database import RECORDS
from mncc.tuning.task import Task
from mncc.verbs.job import parse_settings, prepare

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "tuning.json"
TRIALS, A_ROUND = 64, 16
NEAR = 1.02
BUILD_SECONDS = 240.0
"""Of MetaSchedule's builder for a candidate; its processes first import for up to a minute."""
FAILED = 1e9
"""Seconds that MetaSchedule notes for what failed."""
COLUMNS = (
    "kernel",
    ">default us",
    ">mncc us",
    ">MetaSchedule us",
    ">times as long",
    ">trials: mncc",
    ">MetaSchedule",
    ">minutes: mncc",
    ">MetaSchedule",
)


@dataclass(frozen=True)
class Searched:
    """One search: its trials' costs in seconds as they came, None for failures, and how many seconds it took."""

    costs: tuple[float | None, ...]
    seconds: float

    @property
    def needed(self) -> int:
        """Trials until it was near to its best."""
        best = min((cost for cost in self.costs if cost), default=0.0)
        return next((n for n, cost in enumerate(self.costs, start=1) if cost and cost <= NEAR * best), 0)


@dataclass(frozen=True)
class Compared:
    """Both searches of a kernel, and microseconds of a run in the end; None where MetaSchedule found nothing that
    runs."""

    network: str
    kernel: str
    target: str
    trials: int
    default: float
    tuned: float
    plain: float | None
    own_search: Searched
    plain_search: Searched

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        plain = "-" if self.plain is None else f"{self.plain:.1f}"
        times_as_long = "-" if self.plain is None else f"{self.plain / self.tuned:.2f}"
        searches = (self.own_search, self.plain_search)
        needed, minutes = [str(s.needed) for s in searches], [f"{s.seconds / 60:.1f}" for s in searches]
        return (self.kernel, f"{self.default:.1f}", f"{self.tuned:.1f}", plain, times_as_long, *needed, *minutes)


def main() -> int:
    """The program; answers its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("network", help="a file of examples/ without .mn, or any .mn file")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as for mncc build")
    parser.add_argument("--target", default="native")
    parser.add_argument("--kernel", action="append", default=[], metavar="k05", required=True, help="again for more")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search")
    parser.add_argument("--json", type=Path, default=RESULTS, help="the results' file")
    options = parser.parse_args()
    path = Path(options.network)
    path = path if path.suffix == ".mn" else ROOT / "examples" / f"{path}.mn"
    job = prepare(path, parse_settings(options.set), options.target, tuned="none")
    with Progress() as progress:
        tasks = chosen(job, options.kernel, progress)
    found = []
    for task in tasks:
        say(f"{task.name}: mncc's search")
        tuned, own = own_search(task, options.trials)
        say(f"{task.name}: plain MetaSchedule")
        best, plain = plain_search(task.spec, task.target, options.trials)
        hot = hot_times(task, tuned)
        found.append(Compared(job.name, task.name, job.target.name, options.trials, *hot, best, own, plain))
        write(options.json, found[-1])
    show(table(f"{job.name} for {job.target.name}, {options.trials} trials each", COLUMNS, [f.cells() for f in found]))
    return 0


def chosen(job: Any, wanted: Sequence[str], progress: Progress) -> list[Task]:
    """The tasks of those numbers. Raises UsageError for one that is none, or that TE cannot be written for here."""
    from mncc.verbs.tasks import tasks_of

    tasks = {task.name.split("_")[0]: task for task in tasks_of(job, progress)}
    missing = [name for name in wanted if name not in tasks]
    if missing:
        raise UsageError(f"no kernel to tune is {', '.join(missing)}", f"there are {', '.join(tasks)}")
    for name in wanted:
        spec = tasks[name].spec
        if spec.pool or any(s.shuffle > 1 or (s.groups > 1 and s.kind == "conv") for s in spec.stages):
            raise UsageError(f"{name} has groups, a shuffle or a pool, which this comparison does not know")
    return [tasks[name] for name in wanted]


def own_search(task: Task, trials: int) -> tuple[Any, Searched]:
    """The best tiles that mncc's search finds here, and how it went."""
    from mncc.devices.process import Local
    from mncc.tuning.database import open_database
    from mncc.tuning.measure import open_measurer
    from mncc.tuning.search import Limits, Search

    began, costs = time.monotonic(), []
    with (
        tempfile.TemporaryDirectory(prefix="mncc-tuning-") as folder,
        open_database(Path(folder), "bench", say) as database,
        open_measurer([Local()], task.target, os.cpu_count() or 1) as measurer,
    ):
        names = {task.name: task.name}
        watch = lambda trial: costs.append(trial.outcome.cost)  # noqa: E731
        search = Search([task], names, {task.name: None}, measurer, database, "bench", Limits(trials=trials), watch)
        search.run()
        search.settle()
        tiles = search.standings[0].best_tiles or task.default
    return tiles, Searched(tuple(costs), time.monotonic() - began)


def plain_search(spec: Chain, target: Target, trials: int) -> tuple[float | None, Searched]:
    """Microseconds of the fastest function that MetaSchedule finds for a kernel as it is written in TE, None where none
    runs; and how the search went."""
    import tvm
    from tvm.s_tir import meta_schedule as ms

    machine = tvm.target.Target({"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu, "num-cores": 1})
    (module, shapes), began = in_te(spec), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mncc-tuning-") as folder, pinned(choose_cpus(1)):
        found = ms.tir_integration.tune_tir(
            module,
            machine,
            work_dir=folder,
            max_trials_global=trials,
            num_trials_per_iter=min(A_ROUND, trials),
            builder=ms.builder.LocalBuilder(max_workers=os.cpu_count() or 1, timeout_sec=BUILD_SECONDS),
            num_tuning_cores=1,
        )
        seconds = time.monotonic() - began
        costs = costs_in_order(Path(folder))
        schedule = ms.tir_integration.compile_tir(found, module, machine)
        microseconds = None if schedule is None else plain_time(tvm.compile(schedule.mod, machine), shapes)
    return microseconds, Searched(costs, seconds)


def costs_in_order(folder: Path) -> tuple[float | None, ...]:
    """Of the trials of a search that worked in a folder, as they were measured: its database answers them by cost, the
    file it writes has them one behind the other."""
    lines = (folder / RECORDS).read_text(encoding="utf-8").splitlines()
    seconds = [statistics.mean(json.loads(line)[1][1]) for line in lines]
    return tuple(cost if cost < FAILED else None for cost in seconds)


def in_te(spec: Chain) -> tuple[Any, list[tuple[int, ...]]]:
    """A kernel's arithmetic as a module with one function: (input, residual if any, kernel and bias a stage, output),
    without the borders that tensors have in memory; and the shapes of these."""
    import tvm
    from tvm import te

    value = te.placeholder((spec.height, spec.width, spec.channels), name="input")
    arguments = [value]
    if spec.residual:
        arguments.append(te.placeholder((spec.last.height, spec.last.width, spec.last.channels), name="residual"))
    for number, stage in enumerate(spec.stages):
        added = arguments[1] if spec.residual and stage is spec.last else None
        value, weights = _stage_in_te(value, stage, number, added, spec.residual_first)
        arguments += weights
    arguments.append(value)
    function = te.create_prim_func(arguments).with_attr("global_symbol", "main")
    return tvm.IRModule({"main": function}), [tuple(map(int, each.shape)) for each in arguments]


def _stage_in_te(source: Any, stage: Stage, number: int, added: Any, first: bool) -> tuple[Any, list[Any]]:
    """A convolution with bias, activation and what is added to it."""
    from tvm import te, tirx

    height, width, channels = (int(size) for size in source.shape)
    (top, bottom), (left, right) = stage.padding
    padded = source
    if any(map(any, stage.padding)):
        zero = tirx.const(0.0, "float32")

        def inside(y: Any, x: Any, c: Any) -> Any:
            within = tirx.all(y >= top, y < top + height, x >= left, x < left + width)
            return tirx.if_then_else(within, source[y - top, x - left, c], zero)

        shape = (height + top + bottom, width + left + right, channels)
        padded = te.compute(shape, inside, name=f"padded{number}")
    deep = stage.kind == "depthwise"
    bias = te.placeholder((stage.channels,), name=f"bias{number}")
    kernel = te.placeholder((*stage.kernel, 1 if deep else channels, stage.channels), name=f"kernel{number}")
    taps = [te.reduce_axis((0, size), name=f"tap{axis}") for axis, size in enumerate(stage.kernel)]
    depth = [] if deep else [te.reduce_axis((0, channels), name="depth")]

    def product(y: Any, x: Any, c: Any) -> Any:
        places = [
            at * step + tap * apart
            for at, step, tap, apart in zip((y, x), stage.stride, taps, stage.dilation, strict=True)
        ]
        weight = kernel[taps[0], taps[1], 0 if deep else depth[0], c]
        return te.sum(padded[places[0], places[1], c if deep else depth[0]] * weight, axis=[*taps, *depth])

    shape = (stage.height, stage.width, stage.channels)
    sums = te.compute(shape, product, name=f"sums{number}")

    def ended(y: Any, x: Any, c: Any) -> Any:
        value = sums[y, x, c] + bias[c]
        value = value + added[y, x, c] if added is not None and first else value
        value = stage.activation.expression(value) if stage.activation else value
        return value + added[y, x, c] if added is not None and not first else value

    return te.compute(shape, ended, name=f"ended{number}"), [kernel, bias]


def hot_times(task: Task, tiles: Any) -> tuple[float, float]:
    """Microseconds of the kernel with default and with other tiles, run in turn: medians."""
    heat = (Entrant(task.spec, task.default), Entrant(task.spec, tiles))
    with tempfile.TemporaryDirectory(prefix="mncc-tuning-") as folder, pinned(choose_cpus(1)):
        built = build_heat(heat, task.target, Path(folder, "heat"))
        default, tuned = (1e-3 * statistics.median(each) for each in times(heat, built))
    return default, tuned


def plain_time(compiled: Any, shapes: Sequence[tuple[int, ...]]) -> float:
    """Microseconds of a compiled function on arrays of its own: the median of many runs."""
    import tvm

    device, random = tvm.cpu(), np.random.default_rng(0)
    arrays = [tvm.runtime.tensor(random.standard_normal(shape, dtype=np.float32), device) for shape in shapes]
    timed = compiled.jit().time_evaluator("main", device, number=10, repeat=20)(*arrays)
    return 1e6 * float(timed.median)


def write(file: Path, found: Compared) -> None:
    """Puts a comparison into the results' file, in the place of an older one of the same kernel. Raises OSError."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"results": []}
    key = ("network", "kernel", "target")
    entry = {**asdict(found), "measured": time.strftime("%Y-%m-%d"), "machine": asdict(this_machine())}
    others = [each for each in known["results"] if any(each[name] != entry[name] for name in key)]
    file.write_text(json.dumps({"results": [*others, entry]}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(guarded(main))
