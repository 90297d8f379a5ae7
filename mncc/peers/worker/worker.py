"""One inference engine on one network in a process of its own. Started by mncc.peers.process, by its path.

It runs in whatever environment has the engine, so it stands alone: Python 3.11, numpy and the engine, nothing of mncc
beside the two engines that are mncc's own. Every line of the conversation is a JSON object:

    <- {"engine": "onnxruntime", "package": "onnxruntime", "model": FILE, "inputs": [FILE.npy, ...],
        "folder": FOLDER, "threads": 1, "cpus": [0]}
    -> {"version": "1.31.1", "outputs": [FILE.npy, ...], "seconds": 0.0078}     or {"missing": WHY}, {"failed": WHY}
    <- {"run": 10}
    -> {"cpu": [ten numbers], "wall": [ten numbers]}                            or {"failed": WHY}

Seconds throughout: of CPU time of the whole process, all its threads included, and of the wall clock. Outputs are
float32, as the engine lays them out. The end of the input ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_TRIAL_RUNS = 3


class Session(NamedTuple):
    """A network that is ready: `run` computes, and `outputs` tells what the last run made, in the network's order."""

    run: Callable[[], object]
    outputs: Callable[[], Iterable[np.ndarray]]
    keep: object = None
    """What the engine reads but does not own."""


def open_mncc(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """`model` is libNAME.so."""
    again = import_module("mncc.devices.loaded").Library(model).bind(*inputs, threads=threads)
    return Session(again, again)


def open_torch(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """Eager torch; `model` is a pickle that mncc wrote a moment ago."""
    again = import_module("mncc.reference.eager").open_pickled(model, inputs, threads)
    return Session(again, again)


def open_onnxruntime(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """All of its graph optimisations, which are its default."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {declared.name: array for declared, array in zip(session.get_inputs(), inputs, strict=True)}
    made: list[Any] = []

    def run() -> None:
        made[:] = session.run(None, feed)

    return Session(run, lambda: made)


def open_openvino(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """In float32, for the shortest time of one run, on the CPUs that this process is pinned to."""
    openvino = import_module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    for index, array in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))

    def outputs() -> list[np.ndarray]:
        return [request.get_output_tensor(index).data for index in range(len(compiled.outputs))]

    return Session(request.infer, outputs, keep=inputs)


def open_litert(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """The interpreter with its XNNPACK delegate, which is its default."""
    content = import_module("litert_model").build(model)
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    for declared, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(declared["index"], array)
    indices = [declared["index"] for declared in interpreter.get_output_details()]
    return Session(interpreter.invoke, lambda: [interpreter.get_tensor(index) for index in indices], keep=content)


def open_ncnn(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """In float32 all through; a batch is one picture after the other, for ncnn has no axis for it."""
    ncnn = import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(model) or net.load_model(f"{model}.bin"):
        raise ValueError("ncnn refuses the network")
    batch = [
        [(f"in{index}", ncnn.Mat(picture).clone()) for index, picture in enumerate(pictures)]
        for pictures in zip(*inputs, strict=True)
    ]
    names = [name for name in net.output_names() if name.startswith("out")]
    made: list[list[Any]] = []

    def run() -> None:
        made.clear()
        for given in batch:
            extractor = net.create_extractor()
            for name, value in given:
                extractor.input(name, value)
            made.append([extractor.extract(name)[1] for name in names])

    def outputs() -> list[np.ndarray]:
        return [np.stack([np.array(value) for value in values]) for values in zip(*made, strict=True)]

    return Session(run, outputs, keep=net)


OPEN: dict[str, Callable[[str, Sequence[np.ndarray], int, Path], Session]] = {
    "mncc": open_mncc,
    "torch": open_torch,
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "litert": open_litert,
    "ncnn": open_ncnn,
}


Engines = Mapping[str, Callable[[str, Sequence[np.ndarray], int, Path], Session]]


def prepare(job: dict[str, Any], engines: Engines) -> tuple[Session, dict[str, Any]]:
    """The session and the first answer. Raises ImportError where the engine is missing."""
    # Before the engine is imported: some read the number of usable CPUs only once.
    os.sched_setaffinity(0, job["cpus"])
    try:
        version = metadata.version(job["package"])
    except metadata.PackageNotFoundError as error:
        if job["package"] != "mncc":  # which can be run from its sources
            raise ImportError(f"not installed: pip install {job['package']}") from error
        version = import_module("mncc").__version__
    folder = Path(job["folder"])
    inputs = [np.load(file) for file in job["inputs"]]
    session = engines[job["engine"]](job["model"], inputs, job["threads"], folder)
    trial = timed(session.run, _TRIAL_RUNS)
    files = []
    for index, array in enumerate(session.outputs()):
        files.append(str(folder / f"output{index}.npy"))
        np.save(files[-1], np.asarray(array, np.float32))
    return session, {"version": version, "outputs": files, "seconds": min(trial["wall"])}


def timed(run: Callable[[], object], count: int) -> dict[str, list[float]]:
    """CPU and wall seconds of `count` runs, after one that fetches code and weights back into the caches."""
    run()
    cpu, wall = [], []
    for _ in range(count):
        began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
        run()
        cpu_ended, ended = time.process_time_ns(), time.perf_counter_ns()
        cpu.append(1e-9 * (cpu_ended - cpu_began))
        wall.append(1e-9 * (ended - began))
    return {"cpu": cpu, "wall": wall}


def main(engines: Engines = OPEN) -> None:
    """The conversation on standard input and output; what engines print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        session, ready = prepare(json.loads(sys.stdin.readline()), engines)
    except ImportError as error:
        return answer({"missing": str(error)})
    except Exception as error:  # whatever an engine raises belongs into its line of the report
        return answer({"failed": f"{type(error).__name__}: {error}"})
    answer(ready)
    try:
        for line in sys.stdin:
            answer(timed(session.run, json.loads(line)["run"]))
    except Exception as error:
        answer({"failed": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
