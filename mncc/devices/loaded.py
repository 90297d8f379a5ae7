"""A library written by mncc, loaded into this process and called with numpy arrays.

Everything goes through NAME_model() of the C interface, which tells names, shapes and sizes; ctypes lets go of the
GIL while C code runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mncc.devices.gpu import find_gpu
from mncc.language.diagnostic import OutsideError
from mncc.library.folder import FORMAT

ALIGN = 64
"""Of workspaces and scratch, in bytes."""

PARALLEL_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, PARALLEL_TASK, ctypes.c_void_p, ctypes.c_int32)
ON_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_uint64)


class Exec(ctypes.Structure):
    """mncc_exec of the header: how to run."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("threads", ctypes.c_int32),
        ("parallel_for", PARALLEL_FOR),
        ("pool", ctypes.c_void_p),
        ("on_kernel", ON_KERNEL),
        ("user", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("message_bytes", ctypes.c_size_t),
        ("device", ctypes.c_void_p),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int32)),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    ]


_Run = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.POINTER(Exec),
)


class _Model(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("abi", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("hash", ctypes.c_char_p),
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("input", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("workspace_bytes", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_int32)),
        ("run", _Run),
        ("selftest", ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Exec))),
        ("status_string", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int32)),
    ]


NO_CPU = 4
"""MNCC_E_CPU: the processor lacks instructions."""


class RunError(RuntimeError):
    """A library answered another status than MNCC_OK; `status` is its number."""

    def __init__(self, name: str, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{name}: {text} (status {status})")


@dataclass(frozen=True)
class Interface:
    """An input or output: its name and NHWC shape, the batch included. All are float32."""

    name: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return 4 * int(np.prod(self.shape))


@dataclass(frozen=True)
class KernelTime:
    """Wall time of one kernel in every run of a profile."""

    index: int
    name: str
    nanoseconds: tuple[int, ...]

    @property
    def median(self) -> float:
        """Median of the runs, in nanoseconds."""
        return float(np.median(self.nanoseconds))


def aligned_empty(nbytes: int, align: int = ALIGN) -> np.ndarray:
    """Uninitialised bytes, the first at a multiple of `align`."""
    raw = np.empty(nbytes + align, np.uint8)
    start = -raw.ctypes.data % align
    return raw[start : start + nbytes]


def find_library(path: Path | str, suffix: str = "") -> tuple[Path, str]:
    """The shared library and the network's name, from libNAME.so or the folder that a build left.

    `suffix` is "_probe" for the probe. Raises OutsideError where there is none.
    """
    path = Path(path)
    if path.is_dir():
        names = [file.stem for file in path.glob("*.json") if read_manifest(path, file.stem).get("format") == FORMAT]
        if len(names) != 1 or not (path / f"lib{names[0]}{suffix}.so").exists():
            raise OutsideError(f"{path} holds no library lib*{suffix}.so of one build", "build one with `mncc build`")
        path = path / f"lib{names[0]}{suffix}.so"
    name = path.name.removeprefix("lib").split(".so")[0].removesuffix(suffix)
    return path.resolve(), name


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise OutsideError(f"cannot load {path}: {error}", "build it for this machine: --target native") from error


class Library:
    """libNAME.so of a build, callable: `scores = library(image, threads=2)`.

    Inputs are float32 in the declared NHWC shapes, batch included. A C-contiguous numpy array is used as it lies; so
    is a torch tensor (anything with `__dlpack__`) of that shape, or of NCHW shape in channels-last memory. Everything
    else of the right shape is copied once. Outputs are new numpy arrays in NHWC.

    Several Python threads may call one Library at once: each run has its own workspace, and ctypes releases the GIL.
    Calls with the same `threads` > 1 share a pool and queue in it. A library for GPUs runs on device number `device`,
    which its first call opens; its calls queue.
    """

    def __init__(self, path: Path | str, device: int = 0, probe: bool = False) -> None:
        self.path, symbol = find_library(path, "_probe" if probe else "")
        self._dll = _load(self.path)
        try:
            get_model = self._dll[f"{symbol}_model"]
            self._pool_create = self._dll[f"{symbol}_pool_create"]
            self._pool_destroy = self._dll[f"{symbol}_pool_destroy"]
        except AttributeError as error:
            help = "name the libNAME.so of a build"
            raise OutsideError(f"{self.path} is no library of mncc: {error}", help) from error
        get_model.restype = ctypes.POINTER(_Model)
        self._pool_create.restype = ctypes.POINTER(Exec)
        self._pool_create.argtypes = [ctypes.c_int32]
        self._pool_destroy.argtypes = [ctypes.POINTER(Exec)]
        self._model = get_model().contents
        self.name: str = self._model.name.decode()
        self.hash: str = self._model.hash.decode()
        self.inputs = _interfaces(self._model.input, self._model.inputs)
        self.outputs = _interfaces(self._model.output, self._model.outputs)
        self._lock = threading.Lock()
        self._pools: dict[int, Any] = {}
        self._workspaces: dict[int, list[np.ndarray]] = {}
        self._pid = os.getpid()
        self._gpu = find_gpu(self._dll, symbol, device)

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    @property
    def manifest(self) -> dict[str, Any]:
        """NAME.json, where it lies beside the library; else empty."""
        return read_manifest(self.path.parent, self.name)

    def workspace_bytes(self, threads: int = 1) -> int:
        """Bytes of workspace that a run on so many threads needs."""
        return int(self._model.workspace_bytes(threads))

    @property
    def on_gpu(self) -> bool:
        """True where the kernels are a GPU's."""
        return self._gpu is not None

    def device_handle(self) -> int:
        """What the library's C functions take for the device it has open. Raises OutsideError, TypeError on a CPU."""
        if self._gpu is None:
            raise TypeError(f"{self.name} runs on a CPU")
        return self._gpu.handle()

    def __call__(self, *inputs: Any, threads: int = 1) -> np.ndarray | tuple[np.ndarray, ...]:
        """Runs the network; the output, or a tuple where there are several.

        Raises TypeError and ValueError for inputs of another dtype, shape or number, RunError where the library
        refuses (MNCC_E_CPU: the processor lacks instructions).
        """
        outputs = self.run(*inputs, threads=threads)
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, *inputs: Any, threads: int = 1) -> tuple[np.ndarray, ...]:
        """As a call, but always a tuple of outputs."""
        arrays = self.prepare(*inputs)
        outputs = self.empty_outputs()
        with self._workspace(threads) as workspace, self._exec(threads) as how:
            self.run_exec(arrays, outputs, workspace, how)
        return outputs

    def bind(self, *inputs: Any, threads: int = 1) -> Callable[[], tuple[np.ndarray, ...]]:
        """A function that runs on these inputs again and again with nothing but the C call between: for timing.

        It returns the same output arrays every time, overwritten, and keeps a workspace for itself.
        """
        arrays, outputs = self.prepare(*inputs), self.empty_outputs()
        workspace = aligned_empty(self.workspace_bytes(threads))
        with self._exec(threads) as how:
            pointers = _pointers(arrays), _pointers(outputs)
            arguments = (*pointers, workspace.ctypes.data, workspace.nbytes, ctypes.byref(how))
        call = self._model.run

        def again() -> tuple[np.ndarray, ...]:
            status = call(*arguments)
            self._check(status, how)
            return outputs

        again.__dict__["keep"] = (arrays, workspace, how, self)
        return again

    def selftest(self, threads: int = 1) -> None:
        """The library's own test against the numbers it was built with. Raises RunError where it fails."""
        tensors = sum(-(-t.nbytes // ALIGN) * ALIGN for t in (*self.inputs, *self.outputs))
        workspace = aligned_empty(tensors + self.workspace_bytes(threads))
        with self._exec(threads) as how:
            self._check(self._model.selftest(workspace.ctypes.data, workspace.nbytes, ctypes.byref(how)), how)

    def profile(self, *inputs: Any, threads: int = 1, repeats: int = 10) -> tuple[KernelTime, ...]:
        """Wall time of every kernel over `repeats` runs, after one to warm up."""
        arrays, outputs = self.prepare(*inputs), self.empty_outputs()
        names: dict[int, str] = {}
        times: dict[int, list[int]] = {}

        def on_kernel(_user: int, index: int, name: bytes, nanoseconds: int) -> None:
            names[index] = name.decode()
            times.setdefault(index, []).append(nanoseconds)

        callback = ON_KERNEL(on_kernel)
        with self._workspace(threads) as workspace, self._exec(threads) as how:
            how.on_kernel = callback
            for _ in range(repeats + 1):
                self.run_exec(arrays, outputs, workspace, how)
        return tuple(KernelTime(index, names[index], tuple(times[index][1:])) for index in sorted(names))

    def run_exec(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], workspace: np.ndarray, how: Exec | None
    ) -> None:
        """model->run on the given buffers: prepared inputs, output arrays, a workspace of 64-byte aligned bytes, and
        an Exec (None: serial). Raises RunError."""
        reference = ctypes.byref(how) if how is not None else None
        status = self._model.run(
            _pointers(inputs), _pointers(outputs), workspace.ctypes.data, workspace.nbytes, reference
        )
        self._check(status, how)

    def status_string(self, status: int) -> str:
        """What a status means."""
        return str(self._model.status_string(status).decode())

    def empty_outputs(self) -> tuple[np.ndarray, ...]:
        """Arrays for the outputs, not filled."""
        return tuple(np.empty(tensor.shape, np.float32) for tensor in self.outputs)

    def prepare(self, *inputs: Any) -> tuple[np.ndarray, ...]:
        """The inputs as C-contiguous float32 NHWC arrays; no copy where they are that already."""
        if len(inputs) != len(self.inputs):
            expected = ", ".join(f"{t.name} {t.shape}" for t in self.inputs)
            raise TypeError(f"{self.name} takes {len(self.inputs)} inputs ({expected}), not {len(inputs)}")
        return tuple(_as_nhwc(value, tensor) for value, tensor in zip(inputs, self.inputs, strict=True))

    def close(self) -> None:
        """Ends the pools' threads and closes the GPU; the library stays loaded. No call may be running. A later call
        starts them anew."""
        with self._lock:
            pools, self._pools = self._pools, {}
            self._workspaces = {}
        if os.getpid() == self._pid:  # the threads of a parent did not survive fork
            for pool in pools.values():
                self._pool_destroy(pool)
            if self._gpu is not None:
                self._gpu.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_gpu"):
            self.close()

    @contextmanager
    def _exec(self, threads: int) -> Iterator[Exec]:
        """A copy of the pool's Exec, with room for a message; without a pool on one thread."""
        how = Exec(struct_size=ctypes.sizeof(Exec), threads=max(1, threads))
        if threads > 1:
            pool = self._pool(threads).contents
            how.parallel_for, how.pool = pool.parallel_for, pool.pool
        message = ctypes.create_string_buffer(512)
        how.message, how.message_bytes = ctypes.cast(message, ctypes.c_char_p), len(message)
        if self._gpu is not None:
            how.device = self._gpu.handle()
        yield how

    def _pool(self, threads: int) -> Any:
        with self._lock:
            if os.getpid() != self._pid:
                self._pools, self._pid = {}, os.getpid()
            if threads not in self._pools:
                pool = self._pool_create(threads)
                if not pool:
                    raise OutsideError(f"no pool of {threads} threads could be started", "ask for fewer threads")
                self._pools[threads] = pool
            return self._pools[threads]

    @contextmanager
    def _workspace(self, threads: int) -> Iterator[np.ndarray]:
        """A workspace that no other call is using; kept for the next one."""
        with self._lock:
            free = self._workspaces.setdefault(threads, [])
            workspace = free.pop() if free else None
        if workspace is None:
            workspace = aligned_empty(self.workspace_bytes(threads))
        try:
            yield workspace
        finally:
            with self._lock:
                free.append(workspace)

    def _check(self, status: int, how: Exec | None) -> None:
        if status != 0:
            message = how.message.decode(errors="replace") if how is not None and how.message else ""
            raise RunError(self.name, status, message or self.status_string(status))


class Probe:
    """libNAME_probe.so of a build: runs single kernels of a network, through the same objects, on given buffers."""

    def __init__(self, path: Path | str) -> None:
        self.path, self.name = find_library(path, "_probe")
        self._dll = _load(self.path)
        pointers = ctypes.POINTER(ctypes.c_void_p)
        self._probe_at = self._dll[f"{self.name}_probe_at"]
        self._probe_at.argtypes = [ctypes.c_int32] * 3 + [ctypes.c_void_p, pointers, ctypes.c_void_p]
        get_weights = self._dll[f"{self.name}_probe_weights"]
        get_weights.restype = ctypes.c_void_p
        size = ctypes.c_size_t()
        address = get_weights(ctypes.byref(size))
        self.weights = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))
        """The packed weights of the network, as they lie in the library; read-only memory."""
        self.weights.flags.writeable = False
        self.manifest = read_manifest(self.path.parent, self.name)
        self.kernels: tuple[dict[str, Any], ...] = tuple(self.manifest.get("kernels", ()))
        """The kernels as NAME.json has them: name, items, images, weights_offset, tensors, ..."""
        self._scratch_bytes = int(self.manifest["scratch_bytes"])

    def select(self, number: int) -> None:
        """Makes this process run the kernels of target `number` of a library for several. Raises RunError where the
        processor cannot."""
        answer = self._dll[f"{self.name}_probe_select"](number)
        if answer != 0:
            name = self.manifest["variants"][number]["target"]["name"]
            raise RunError(self.name, NO_CPU, f"this processor lacks instructions of {name}")
        chosen = self.manifest["variants"][number]
        self.kernels, self._scratch_bytes = tuple(chosen["kernels"]), int(chosen["scratch_bytes"])

    def run(
        self,
        kernel: int,
        tensors: Sequence[np.ndarray],
        scratch: np.ndarray | None = None,
        *,
        items: tuple[int, int] | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        """Runs kernel number `kernel` on one image.

        `tensors` are its inputs, what its phases share, then its output, C-contiguous; `scratch` 64-byte aligned, by
        default the size that the manifest states; `items` a part (begin, end) of its items; `weights` a copy of the
        network's. Raises RunError.
        """
        begin, end = items if items is not None else (0, self.kernels[kernel]["items"])
        if scratch is None:
            scratch = aligned_empty(self._scratch_bytes)
        base = self.weights if weights is None else weights
        answer = self._probe_at(kernel, begin, end, base.ctypes.data, _pointers(tensors), scratch.ctypes.data)
        if answer != 0:
            raise RunError(self.name, answer, f"kernel {kernel} failed")


def read_manifest(folder: Path, name: str) -> dict[str, Any]:
    """NAME.json of a build's folder; empty where there is none, or where it holds something else."""
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _interfaces(address: int, count: int) -> tuple[Interface, ...]:
    """Reads an array of mncc_tensor by the size that its elements state."""
    found = []
    for _ in range(count):
        tensor = _Tensor.from_address(address)
        found.append(Interface(tensor.name.decode(), tuple(tensor.shape[: tensor.rank])))
        address += tensor.struct_size
    return tuple(found)


def _pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _as_nhwc(value: Any, tensor: Interface) -> np.ndarray:
    """`value` as a C-contiguous float32 array of the tensor's shape."""
    foreign = not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__")
    array = _from_dlpack(value) if foreign else np.asarray(value)
    if array.dtype != np.float32:
        raise TypeError(f"{tensor.name} needs float32, not {array.dtype}")
    if foreign and array.shape != tensor.shape and array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)  # torch's NCHW; dense where its memory is channels-last
    if array.shape != tensor.shape:
        given = tuple(value.shape) if hasattr(value, "shape") else array.shape
        raise ValueError(f"{tensor.name} needs the shape {tensor.shape} (NHWC), not {given}")
    return np.require(array, requirements=["C", "ALIGNED"])


def _from_dlpack(value: Any) -> np.ndarray:
    """A view of another library's tensor. Detached first where it is torch's and part of a graph."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"cannot read a {type(value).__name__} without its library's help: {error}") from error
