"""The handle of a library for GPUs: opened when it is first needed, closed with the library."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mncc.language.diagnostic import OutsideError

_MESSAGE_BYTES = 512


class Gpu:
    """Device number `ordinal` as a library has it open; several threads may ask for it at once."""

    def __init__(self, dll: ctypes.CDLL, name: str, ordinal: int) -> None:
        self.ordinal = ordinal
        self._open = dll[f"{name}_device_open"]
        self._open.restype = ctypes.c_void_p
        self._open.argtypes = [ctypes.c_int32, ctypes.c_char_p, ctypes.c_size_t]
        self._close = dll[f"{name}_device_close"]
        self._close.restype = None
        self._close.argtypes = [ctypes.c_void_p]
        self._lock = threading.Lock()
        self._handle: int | None = None

    def handle(self) -> int:
        """What goes into mncc_exec.device. Raises OutsideError where there is no driver, no device, no memory."""
        with self._lock:
            if self._handle is None:
                message = ctypes.create_string_buffer(_MESSAGE_BYTES)
                self._handle = self._open(self.ordinal, message, len(message))
                if self._handle is None:
                    raise OutsideError(message.value.decode(errors="replace"))
            return self._handle

    def close(self) -> None:
        """Frees what the handle has on the device; the next use opens it again."""
        with self._lock:
            handle, self._handle = self._handle, None
        self._close(handle)


def find_gpu(dll: ctypes.CDLL, name: str, ordinal: int) -> Gpu | None:
    """The device of a library, or None where it runs on a CPU."""
    return Gpu(dll, name, ordinal) if hasattr(dll, f"{name}_device_open") else None


class GpuProbe:
    """The probe of a library for GPUs: runs single launches on memory of this process. `handle` is of that library."""

    def __init__(self, path: Path, name: str, handle: int) -> None:
        dll = ctypes.CDLL(str(path))
        self._handle = handle
        self._launch = dll[f"{name}_probe_launch"]
        pointers, sizes = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t)
        self._launch.argtypes = [ctypes.c_void_p, ctypes.c_int32, pointers, sizes, sizes]
        self._message = dll[f"{name}_device_message"]
        self._message.restype = ctypes.c_char_p
        self._message.argtypes = [ctypes.c_void_p]

    def launch(self, number: int, memory: Sequence[np.ndarray | None], starts: Sequence[int]) -> None:
        """Launch `number` with its arguments `starts` bytes into arrays, which it changes; None for the weights.

        Raises OutsideError where the device refuses."""
        count = len(memory)
        pointers = (ctypes.c_void_p * count)(*(None if m is None else m.ctypes.data for m in memory))
        bytes_ = (ctypes.c_size_t * count)(*(0 if m is None else m.nbytes for m in memory))
        status = self._launch(self._handle, number, pointers, bytes_, (ctypes.c_size_t * count)(*starts))
        if status != 0:
            text = self._message(self._handle).decode(errors="replace")
            raise OutsideError(f"launch {number} of the network failed (status {status}): {text}")


def check_driver() -> None:
    """Raises OutsideError where this machine has no NVIDIA driver, before any work is done for it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise OutsideError(
            f"no NVIDIA driver on this machine: {error}",
            "`mncc build` needs none; run and verify are for machines with a GPU, or name a CPU with --target",
        ) from error
