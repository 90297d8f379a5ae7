"""One engine on one network on a GPU, in a process of its own: mncc/peers/worker with the engines that have a GPU.

Inputs and outputs stay on the GPU, and a run lasts until its outputs are there; only `mncc-host` copies both ways. All
compute in float32 without TF32, so that they compute the same; in float16 torch has weights and activations of it.
"""

from __future__ import annotations

import ctypes
import os
import pickle
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.cuda.driver import Stream
from mncc.devices.loaded import Library
from mncc.peers.worker.worker import Session, main, open_mncc

REHEARSAL = "MNCC_BENCH_CUDA_REHEARSAL"
"""Set where there is no GPU: torch then runs on the CPU, to try its code."""
HALF = "MNCC_BENCH_CUDA_FLOAT16"
"""Set where all compute in float16."""


def open_mncc_device(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """NAME_run_device with device pointers, always the same ones."""
    library, stream = Library(model), Stream()
    handle = ctypes.c_void_p(library.device_handle())
    run_device = ctypes.CDLL(str(library.path))[f"{library.name}_run_device"]
    outputs = [stream.empty(tensor.nbytes) for tensor in library.outputs]
    pointers = [ctypes.c_void_p(address) for address in (*map(stream.upload, inputs), *outputs)]

    def run() -> None:
        status = run_device(handle, *pointers, stream.handle)
        if status != 0:
            raise RuntimeError(f"{library.name}_run_device: {library.status_string(status)}")
        stream.wait()

    def made() -> list[np.ndarray]:
        return [stream.download(at, tensor.shape) for at, tensor in zip(outputs, library.outputs, strict=True)]

    return Session(run, made, keep=library)


def _torch(model: str, inputs: Sequence[np.ndarray]) -> tuple[Any, Callable[[Any], Any], list[Any], Callable[[], None]]:
    """torch, the network as a function, its inputs on the device, and a wait for all that runs there."""
    import torch

    rehearsal = bool(os.environ.get(REHEARSAL))
    if not rehearsal and not torch.cuda.is_available():
        raise ImportError("this torch sees no GPU: install a build of torch for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.set_default_device("cpu" if rehearsal else "cuda")
    if rehearsal:
        # A depthwise convolution of float16 is thousands of tasks there, whose threads wait for each other.
        torch.set_num_threads(1)
    network, tensors = pickle.loads(Path(model).read_bytes())
    forward = import_module("mncc.reference.eager").eager_function(network, tensors)
    given = [torch.tensor(array, dtype=torch.float16 if os.environ.get(HALF) else None) for array in inputs]
    return torch, forward, given, (lambda: None) if rehearsal else torch.cuda.synchronize


def _arrays(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [output.float().contiguous().cpu().numpy() for output in outputs]


def open_torch(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """Eager, channels last."""
    torch, forward, given, wait = _torch(model, inputs)
    made: list[Any] = []

    def run() -> None:
        with torch.inference_mode():
            made[:] = forward(given)
        wait()

    return Session(run, lambda: _arrays(made))


def open_torch_graph(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """Eager, captured once as a CUDA graph."""
    torch, forward, given, wait = _torch(model, inputs)
    with torch.inference_mode():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                forward(given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = forward(given)

    def run() -> None:
        graph.replay()
        wait()

    return Session(run, lambda: _arrays(made), keep=given)


def open_torch_compile(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """torch.compile, the mode that tries most and captures CUDA graphs."""
    torch, forward, given, wait = _torch(model, inputs)
    compiled = torch.compile(forward, mode="max-autotune")
    made: list[Any] = []

    def run() -> None:
        with torch.inference_mode():
            made[:] = compiled(given)
        wait()

    return Session(run, lambda: _arrays(made))


ONNXRUNTIME_SETTINGS = {
    "device_id": "0",
    "enable_cuda_graph": "1",
    "use_tf32": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
}


def open_onnxruntime(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """The CUDA provider with a CUDA graph; inputs and outputs bound to device memory."""
    runtime = import_module("onnxruntime")
    provider, where, settings = "CUDAExecutionProvider", "cuda", dict(ONNXRUNTIME_SETTINGS)
    if os.environ.get(REHEARSAL):
        provider, where, settings = "CPUExecutionProvider", "cpu", {}
    elif provider not in runtime.get_available_providers():
        raise ImportError("this onnxruntime has no CUDA: pip install onnxruntime-gpu[cuda,cudnn]")
    # CUDA's libraries and cuDNN where packages brought them, which are in no path of the loader's; since 1.21.
    getattr(runtime, "preload_dlls", lambda: None)()
    session = runtime.InferenceSession(model, providers=[(provider, settings)])
    if session.get_providers()[0] != provider:
        raise ImportError("onnxruntime's CUDA provider does not load: see its log")
    binding, kept = session.io_binding(), []
    for declared, array in zip(session.get_inputs(), inputs, strict=True):
        kept.append(runtime.OrtValue.ortvalue_from_numpy(array, where, 0))
        binding.bind_ortvalue_input(declared.name, kept[-1])
    for declared in session.get_outputs():
        kept.append(runtime.OrtValue.ortvalue_from_shape_and_type(declared.shape, np.float32, where, 0))
        binding.bind_ortvalue_output(declared.name, kept[-1])
    made = kept[len(inputs) :]
    return Session(
        lambda: session.run_with_iobinding(binding), lambda: [value.numpy() for value in made], keep=(binding, kept)
    )


def open_tensorrt(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """Its own choice of kernels by timing, captured once as a CUDA graph."""
    trt, stream = import_module("tensorrt"), Stream()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)  # the only kind since TensorRT 10
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(model).read_bytes()):
        raise ValueError(f"TensorRT refuses the network: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError("TensorRT builds no engine: see its log")
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    context = engine.create_execution_context() if engine else None
    if context is None:
        raise ValueError("TensorRT does not load the engine that it built: see its log")
    # In the order of the network: what order those of the engine have nobody says.
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    made = []
    addresses = {name: stream.upload(array) for name, array in zip(names, inputs, strict=True)}
    for index in range(network.num_outputs):
        name = network.get_output(index).name
        shape = tuple(engine.get_tensor_shape(name))
        addresses[name] = stream.empty(4 * int(np.prod(shape)))
        made.append((addresses[name], shape))
    for name, address in addresses.items():
        if not context.set_tensor_address(name, address):
            raise ValueError(f"TensorRT has no tensor {name}")

    def enqueue() -> None:
        if not context.execute_async_v3(stream.handle.value):
            raise RuntimeError("TensorRT does not run: see its log")

    enqueue()  # outside of the capture: it sets itself up in its first run
    stream.wait()
    replay = stream.captured(enqueue)

    def run() -> None:
        replay()
        stream.wait()

    return Session(run, lambda: [stream.download(*each) for each in made], keep=(logger, runtime, engine, context))


OPEN = {
    "mncc": open_mncc_device,
    "mncc-host": open_mncc,
    "torch": open_torch,
    "torch-graph": open_torch_graph,
    "torch-compile": open_torch_compile,
    "onnxruntime": open_onnxruntime,
    "tensorrt": open_tensorrt,
}

if __name__ == "__main__":
    main(OPEN)
