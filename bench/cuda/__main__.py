"""Measures libraries for NVIDIA GPUs beside torch, TensorRT and onnxruntime, and checks what all compute.

    python -m bench.cuda                          MobileNetV1 and V2, 1.0-224
    python -m bench.cuda mobilenet_v2_0.35_96     networks of bench/peers/networks.toml
    python -m bench.cuda --device 1 --seconds 5
    python -m bench.cuda --dtype float16          beside torch in float16; the others stay out
    python -m bench.cuda --rehearse               everything but the GPU: the stand-in driver, torch on the CPU

It needs mncc with its extra `cuda`, or nvcc; engines that are not installed are named and left out (pip install
onnxruntime-gpu tensorrt; torch in its build for CUDA). Every engine runs in a process of its own, in turn, some 20 ms
each. A time is one run of batch 1 with its inputs on the GPU, by the wall clock, until its outputs are there; mncc-
host copies both ways. bench/results/cuda_NETWORK.json keeps the numbers with all versions; cuda_NETWORK_float16.json
those of float16.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.cuda.driver import DriverError, Gpu, find_gpu
from bench.cuda.worker import HALF, REHEARSAL
from bench.peers.cases import Case, choose, load_cases
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.target import load_machine, target_names
from mncc.language.diagnostic import OutsideError
from mncc.library.cuda_write import write_cuda_library
from mncc.library.nvcc import find_nvcc
from mncc.library.selftest import TOLERANCES
from mncc.peers import Engine, Handover, PeerError, Process
from mncc.peers.handover import TOLERANCE
from mncc.reference import Twin
from mncc.report.console import say, show
from mncc.report.failures import guarded
from mncc.report.machine import this_machine
from mncc.report.progress import Progress
from mncc.report.table import table
from mncc.verbs.cache import compiled_gpu
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import GpuJob, prepare_build

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
WORKER = Path(__file__).with_name("worker.py")
NETWORKS = ("mobilenet_v1_1.0_224", "mobilenet_v2_1.0_224")
ENGINES = (
    Engine("mncc", "mncc", "library"),
    Engine("mncc-host", "mncc", "library"),
    Engine("torch", "torch", "network"),
    Engine("torch-graph", "torch", "network"),
    Engine("torch-compile", "torch", "network"),
    Engine("onnxruntime", "onnxruntime-gpu", "onnx"),
    Engine("tensorrt", "tensorrt", "onnx"),
)
SECONDS, SECONDS_TO_PREPARE = 2.0, 1800.0
"""How long an engine runs in all, and how long it may compile and try kernels before."""
HALF_TOLERANCE = TOLERANCES["float16"]
LEAST_ROUNDS, SLICE_SECONDS, SLICE_RUNS = 15, 0.02, 200
REHEARSED_ROUNDS = 3
"""Where a run takes seconds and its time means nothing."""
REHEARSED = Gpu("stand-in", 80, "13.0")
REHEARSED_PACKAGES = {"onnxruntime": "onnxruntime"}
"""The same interface, without CUDA."""


@dataclass
class Contestant:
    """An engine that is ready, how far its outputs are from the twin's, and the wall seconds of its runs."""

    engine: str
    process: Process
    difference: float
    wall: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """A few runs. Raises PeerError."""
        runs = round(SLICE_SECONDS / max(self.process.seconds, 1e-7))
        self.wall += self.process.run(min(max(runs, 1), SLICE_RUNS)).wall


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; answers its exit status: 1 where mncc's own library could not be measured."""
    options = _options(arguments)
    able = ENGINES if options.dtype == "float32" else [engine for engine in ENGINES if engine.form != "onnx"]
    engines = [engine for engine in able if engine.name in options.engines.split(",")]
    if options.rehearse:
        engines = [replace(engine, package=REHEARSED_PACKAGES.get(engine.name, engine.package)) for engine in engines]
    try:
        gpu = REHEARSED if options.rehearse else find_gpu(options.device)
    except DriverError as error:
        help = "this is for machines with an NVIDIA GPU; --rehearse tries everything else"
        raise OutsideError(str(error), help) from error
    say(f"{gpu.name}, compute capability {gpu.capability / 10}, driver for CUDA {gpu.driver}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[options.device] if visible != [""] else str(options.device)
    good = True
    for case in choose(load_cases(), options.networks or NETWORKS):
        result = measure(case, gpu, engines, options.seconds, bool(options.rehearse), options.dtype)
        good &= any(timing["engine"] == "mncc" for timing in result["results"])
        folder = options.results or (None if options.rehearse else RESULTS)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(result, indent=1) + "\n"
            name = case.name + ("_float16" if options.dtype == "float16" else "")
            (folder / f"cuda_{name}.json").write_text(text, encoding="utf-8")
        show(_table(case, result))
        for engine, why in result["missing"]:
            say(f"{engine} is missing: {why}")
    return 0 if good else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cuda", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="of bench/peers/networks.toml")
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="an engine")
    parser.add_argument("--engines", default=",".join(e.name for e in ENGINES), help="some of them, with commas")
    parser.add_argument("--results", type=Path, help="the folder that is written, bench/results")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="what is computed in")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU; the times mean nothing")
    return parser.parse_args(arguments)


def measure(
    case: Case, gpu: Gpu, engines: Sequence[Engine], seconds: float, rehearse: bool, dtype: str = "float32"
) -> dict[str, Any]:
    """One network: built for the GPU, given to every engine, checked, timed. Raises DiagnosticError, OutsideError."""
    file, target = ROOT / "examples" / f"{case.example}.mn", target_for(gpu)
    job = prepare_build(file, case.settings, target, case.weights(), dtype=dtype)
    assert isinstance(job, GpuJob)
    missing: dict[str, str] = {}

    def lost(engine: str, error: PeerError) -> None:
        missing.setdefault(engine, str(error))

    with Progress() as progress, tempfile.TemporaryDirectory(prefix="mncc-cuda-") as name, ExitStack() as stack:
        folder = Path(name)
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        nvcc = find_nvcc()
        spec, fatbin = compiled_gpu(job, nvcc, progress)
        files = write_cuda_library(spec, folder / "library", nvcc=nvcc, fatbin=fatbin)
        if rehearse:
            environment |= _rehearsal(spec.source, folder, progress)
        inputs = random_inputs(job.network)
        progress("computing the outputs in float64")
        twin = Twin(job.network, job.weights).run(inputs, keep={o.value for o in job.network.outputs})
        expected = [twin[output.value] for output in job.network.outputs]
        tensors, tolerance = job.weights.tensors, TOLERANCE
        if dtype == "float16":
            environment |= {HALF: "1"}
            tensors, tolerance = {key: array.astype(np.float16) for key, array in tensors.items()}, HALF_TOLERANCE
        given = Handover(folder, job.network, tensors, files.shared, inputs, expected, tolerance)
        ready = list(_enter(stack, engines, given, environment, progress, lost))
        _run(ready, seconds, REHEARSED_ROUNDS if rehearse else LEAST_ROUNDS, progress, lost)
    return {
        "network": case.name,
        "macs": job.network.macs,
        "gpu": asdict(gpu),
        "rehearsal": rehearse,
        "target": job.targets[0].name,
        "dtype": dtype,
        "cuda": ".".join(map(str, nvcc.version)),
        "machine": asdict(this_machine()),
        "results": [_timing(c) for c in ready if c.engine not in missing],
        "missing": list(missing.items()),
    }


def target_for(gpu: Gpu) -> str:
    """The newest target whose machine code the GPU runs: of its own major version, and no newer; else, for a GPU newer
    than all, the newest, whose PTX its driver compiles. Raises OutsideError for an older one."""
    machines = [load_machine(name) for name, _ in target_names() if name.startswith("cuda-")]
    known = sorted((int(m.architecture.removeprefix("sm_")), m.name) for m in machines if isinstance(m, GpuTarget))
    fitting = [name for number, name in known if number <= gpu.capability and number // 10 == gpu.capability // 10]
    if fitting:
        return fitting[-1]
    if gpu.capability < known[0][0]:
        raise OutsideError(f"{gpu.name} is sm_{gpu.capability}; the oldest target is {known[0][1]}")
    return [name for number, name in known if number <= gpu.capability][-1]


def _rehearsal(source: str, folder: Path, progress: Progress) -> Mapping[str, str]:
    """The environment of a process that finds the stand-in driver with the kernels of a source."""
    from mncc.devices.cuda_standin import build_standin

    progress("compiling the kernels for the CPU")
    (folder / "driver").mkdir()
    build_standin(source, folder / "driver")
    return {"LD_LIBRARY_PATH": str(folder / "driver"), REHEARSAL: "1"}


def _enter(
    stack: ExitStack,
    engines: Sequence[Engine],
    given: Handover,
    environment: Mapping[str, str],
    progress: Progress,
    lost: Callable[[str, PeerError], None],
) -> Iterator[Contestant]:
    """Every engine that is there and computes the same, ready to run."""
    for engine in engines:
        progress(f"preparing {engine.name}")
        try:
            where = given.folder(engine, 1)
            job = {
                "engine": engine.name,
                "package": engine.package,
                "model": str(given.model(engine.form)),
                "inputs": [str(file) for file in given.inputs(engine.channels_first)],
                "folder": str(where),
                "threads": 1,
                "cpus": sorted(os.sched_getaffinity(0)),
            }
            command = [sys.executable, str(WORKER)]
            process = stack.enter_context(Process(command, job, where / "log.txt", environment, SECONDS_TO_PREPARE))
            yield Contestant(engine.name, process, given.difference(engine, process.outputs))
        except PeerError as error:
            lost(engine.name, error)


def _run(
    ready: Sequence[Contestant], seconds: float, rounds: int, progress: Progress, lost: Callable[[str, PeerError], None]
) -> None:
    """All in turn until each has run for `seconds` and `rounds` times; another one begins every round."""
    running, number = list(ready), 0
    while running:
        progress("measuring", min(min(sum(c.wall) / seconds, 1.0) for c in running))
        first = number % len(running)
        for contestant in running[first:] + running[:first]:
            try:
                contestant.turn()
            except PeerError as error:
                running.remove(contestant)
                lost(contestant.engine, error)
        number += 1
        running = [c for c in running if number < rounds or sum(c.wall) < seconds]


def _timing(contestant: Contestant) -> dict[str, Any]:
    middle, least = (round(1e3 * f(contestant.wall), 6) for f in (statistics.median, min))
    return {
        "engine": contestant.engine,
        "median_ms": middle,
        "min_ms": least,
        "runs": len(contestant.wall),
        "version": contestant.process.version,
        "difference": contestant.difference,
    }


def _table(case: Case, result: Mapping[str, Any]) -> Any:
    about = "a rehearsal: the times mean nothing" if result["rehearsal"] else result["gpu"]["name"]
    rows = []
    for timing in sorted(result["results"], key=lambda timing: timing["median_ms"]):
        times = [f"{timing[key]:.4f}" for key in ("median_ms", "min_ms")]
        rows.append((timing["engine"], timing["version"], *times, f"{timing['runs']}", f"{timing['difference']:.1e}"))
    columns = ("engine", "version", ">median ms", ">least ms", ">runs", ">largest error")
    return table(f"{case.title} on {about}", columns, rows)


if __name__ == "__main__":
    sys.exit(guarded(main))
