"""NVIDIA's driver by ctypes, as far as measuring needs it: which GPUs there are, memory, a stream, a captured graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
_NON_BLOCKING, _RELAXED = 1, 2
"""CU_STREAM_NON_BLOCKING, CU_STREAM_CAPTURE_MODE_RELAXED."""


class DriverError(RuntimeError):
    """The driver is missing or refuses a call."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: the driver's name for it, its compute capability as 80 or 90, and the CUDA version of the driver."""

    name: str
    capability: int
    driver: str


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DriverError(f"no NVIDIA driver: {error}") from error


def find_gpu(ordinal: int) -> Gpu:
    """The GPU of that number. Raises DriverError where there is none."""
    cuda = _load()
    count, device, version, major, minor = (ctypes.c_int() for _ in range(5))
    name = ctypes.create_string_buffer(96)
    _check(cuda, "cuInit", cuda.cuInit(0))
    _check(cuda, "cuDeviceGetCount", cuda.cuDeviceGetCount(ctypes.byref(count)))
    if ordinal >= count.value:
        raise DriverError(f"there is no GPU {ordinal}: the driver has {count.value}, counted from 0")
    _check(cuda, "cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(device), ordinal))
    _check(cuda, "cuDeviceGetName", cuda.cuDeviceGetName(name, len(name), device))
    for value, attribute in ((major, _MAJOR), (minor, _MINOR)):
        _check(cuda, "cuDeviceGetAttribute", cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
    _check(cuda, "cuDriverGetVersion", cuda.cuDriverGetVersion(ctypes.byref(version)))
    text = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(errors="replace"), 10 * major.value + minor.value, text)


def _check(cuda: ctypes.CDLL, what: str, result: int) -> None:
    if result != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(result, ctypes.byref(text))
        raise DriverError(f"{what}: CUDA error {result}, {(text.value or b'unknown').decode()}")


class Stream:
    """A stream on GPU 0 of those that this process sees, in its primary context, which stays the thread's current."""

    def __init__(self) -> None:
        self._cuda = _load()
        context, stream = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(0))
        self._call("cuCtxPushCurrent_v2", context)
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        self.handle = stream

    def _call(self, function: str, *arguments: object) -> None:
        _check(self._cuda, function, getattr(self._cuda, function)(*arguments))

    def empty(self, nbytes: int) -> int:
        """The address of new device memory; it lives as long as the process."""
        memory = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(nbytes))
        return memory.value

    def upload(self, array: np.ndarray) -> int:
        """The address of a copy of a C-contiguous array."""
        address = self.empty(array.nbytes)
        source, bytes_ = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, bytes_, self.handle)
        self.wait()
        return address

    def download(self, address: int, shape: tuple[int, ...]) -> np.ndarray:
        """float32 values from device memory."""
        array = np.empty(shape, np.float32)
        to, bytes_ = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoHAsync_v2", to, ctypes.c_uint64(address), bytes_, self.handle)
        self.wait()
        return array

    def wait(self) -> None:
        """Returns when all that was enqueued is done."""
        self._call("cuStreamSynchronize", self.handle)

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """A function that enqueues again, as one graph, what `enqueue` put on this stream."""
        graph, replay = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self.handle, ctypes.c_int(_RELAXED))
        try:
            enqueue()
        finally:
            self._call("cuStreamEndCapture", self.handle, ctypes.byref(graph))
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(replay), graph, ctypes.c_ulonglong(0))
        return lambda: self._call("cuGraphLaunch", replay, self.handle)
