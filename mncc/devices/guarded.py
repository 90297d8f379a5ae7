"""Runs a library with guard pages around every buffer: a read or write outside of one ends the process.

Sanitizers see nothing inside of compiled kernels; the memory management unit does. `check_guarded` runs this module in
a process of its own and says where it died. Workspace, scratch and outputs begin as NaNs, so that a value that is read
before it was written shows in the result, which must have the bits of an ordinary run.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import mmap
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mncc.devices.loaded import ALIGN, PARALLEL_FOR, Exec, Library, Probe, aligned_empty
from mncc.library.selftest import selftest_input

Side = Literal["start", "end"]
Order = Literal["serial", "reversed", "parallel"]

_PROT_NONE = 0
_CANARY = 0xA5
_NAN = 0xFF
"""As every byte of a float: a NaN."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class GuardedBuffer:
    """`nbytes` bytes between two pages that nobody can touch, as near to the one at `side` as `align` allows.

    What else lies between buffer and guards is less than a page; `check` tells whether it was written.
    """

    def __init__(self, nbytes: int, side: Side, fill: np.ndarray | None = None, align: int = 4) -> None:
        page = mmap.PAGESIZE
        inner = max(1, -(-nbytes // page)) * page
        self._map = mmap.mmap(-1, inner + 2 * page)
        whole = np.frombuffer(self._map, np.uint8)
        first = page if side == "start" else page + inner - -(-nbytes // align) * align
        self._slack = (whole[page:first], whole[first + nbytes : page + inner])
        for part in self._slack:
            part[:] = _CANARY
        self.bytes = whole[first : first + nbytes]
        self.bytes[:] = _NAN if fill is None else fill.reshape(-1).view(np.uint8)
        self._inner = (whole.ctypes.data + page, inner)
        _protect(whole.ctypes.data, page, _PROT_NONE)
        _protect(whole.ctypes.data + page + inner, page, _PROT_NONE)

    def floats(self, shape: Sequence[int] | None = None) -> np.ndarray:
        """The buffer as float32."""
        array = self.bytes.view(np.float32)
        return array if shape is None else array.reshape(shape)

    def read_only(self) -> GuardedBuffer:
        """From now on a write ends the process too."""
        _protect(*self._inner, mmap.PROT_READ)
        return self

    def check(self, what: str) -> None:
        """Raises AssertionError where the bytes around the buffer changed."""
        for part in self._slack:
            if not (part == _CANARY).all():
                raise AssertionError(f"{what}: written outside of the buffer")


def _protect(address: int, nbytes: int, protection: int) -> None:
    if _libc.mprotect(address, nbytes, protection) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")


def ordered_exec(threads: int, order: Order) -> Exec:
    """An Exec whose tasks run one after the other, in reverse, or all at once on new threads."""

    def parallel_for(_pool: Any, task: Any, argument: Any, count: int) -> None:
        if order == "parallel":
            workers = [threading.Thread(target=task, args=(argument, index)) for index in range(count)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        else:
            for index in range(count) if order == "serial" else reversed(range(count)):
                task(argument, index)

    return Exec(struct_size=ctypes.sizeof(Exec), threads=threads, parallel_for=PARALLEL_FOR(parallel_for))


def guarded_run(
    library: Library, inputs: Sequence[np.ndarray], side: Side, threads: int, order: Order
) -> tuple[np.ndarray, ...]:
    """The outputs of one run on guarded buffers; inputs are read-only memory, all else begins as NaN."""
    sources = [GuardedBuffer(array.nbytes, side, array).read_only() for array in library.prepare(*inputs)]
    sinks = [GuardedBuffer(tensor.nbytes, side) for tensor in library.outputs]
    workspace = GuardedBuffer(library.workspace_bytes(threads), side, align=ALIGN)
    library.run_exec(
        [buffer.bytes for buffer in sources],
        [buffer.bytes for buffer in sinks],
        workspace.bytes,
        ordered_exec(threads, order),
    )
    for buffer in (*sources, *sinks, workspace):
        buffer.check(f"{library.name}, {threads} threads")
    return tuple(sink.floats(tensor.shape).copy() for sink, tensor in zip(sinks, library.outputs, strict=True))


def guarded_kernels(probe: Probe, inputs: Sequence[np.ndarray], side: Side) -> tuple[np.ndarray, ...]:
    """The outputs of the network, kernel by kernel and image by image, every tensor, the weights and the scratch of a
    kernel in a guarded buffer of its own. Tensors and weights that a kernel reads are read-only.

    A tensor's size is the manifest's image_stride, less what a part of another skips.
    """
    manifest = probe.manifest
    memory = {
        ("workspace", 0): aligned_empty(manifest["tensor_bytes"]),
        **{("input", n): array.reshape(-1).view(np.uint8) for n, array in enumerate(inputs)},
        **{("output", n): aligned_empty(4 * int(np.prod(t["shape"]))) for n, t in enumerate(manifest["outputs"])},
    }
    weights = GuardedBuffer(probe.weights.nbytes, side, probe.weights, ALIGN).read_only()
    for index, kernel in enumerate(probe.kernels):
        print(f"kernel {index} {kernel['name']}, guards at the {side}", flush=True)
        for image in range(kernel["images"]):
            slots = kernel["tensors"]
            places = [_place(memory, slot, image) for slot in slots]
            tensors = [
                GuardedBuffer(place.nbytes, side, place if _is_filled(slot, slots) else None, _alignment(slot, image))
                for slot, place in zip(slots, places, strict=True)
            ]
            for slot, tensor in zip(slots[:-1], tensors, strict=False):
                if not slot["shared"]:
                    tensor.read_only()
            scratch = GuardedBuffer(manifest["scratch_bytes"], side, align=ALIGN)
            probe.run(index, [t.bytes for t in tensors], scratch.bytes, weights=weights.bytes)
            for buffer in (*tensors, scratch):
                buffer.check(kernel["name"])
            places[-1][:] = tensors[-1].bytes
    return tuple(memory["output", n].view(np.float32).reshape(t["shape"]) for n, t in enumerate(manifest["outputs"]))


def _place(memory: dict[tuple[str, int], np.ndarray], slot: dict[str, Any], image: int) -> np.ndarray:
    """The bytes of one image of one tensor."""
    whole = memory[slot["base"], slot["index"]]
    begin = slot["offset"] + image * slot["image_stride"]
    return whole[begin : begin + ((slot["image_stride"] or whole.nbytes - begin) - slot["skipped"])]


def _is_filled(slot: dict[str, Any], slots: Sequence[dict[str, Any]]) -> bool:
    """Whether a buffer begins with what is there already: every input, and an output between other kernels' results."""
    return not slot["shared"] and (slot is not slots[-1] or slot["part"])


def _alignment(slot: dict[str, Any], image: int) -> int:
    """What a kernel may assume: nothing but whole floats of the caller's buffers, more where the workspace has it."""
    aligned = slot["base"] == "workspace" and (slot["offset"] + image * slot["image_stride"]) % ALIGN == 0
    return ALIGN if aligned else 4


def check_guarded(folder: Path, threads: Sequence[int] = (1, 3), timeout: float = 300) -> None:
    """Runs the library of a build's folder (and its probe, where it has one) under guards, in a process of its own.

    Raises AssertionError that names the kernel and the side where a kernel left its buffers, or where bits differ.
    """
    command = [sys.executable, "-m", "mncc.devices.guarded", str(folder), *map(str, threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        last = "\n".join([*done.stdout.splitlines()[-1:], *done.stderr.splitlines()[-12:]])
        raise AssertionError(f"{folder} does not stay in its buffers (status {done.returncode}):\n{last}")


def _main(folder: Path, thread_counts: Sequence[int]) -> None:
    faulthandler.enable()
    library = Library(folder)
    inputs = [selftest_input(n, t.nbytes // 4).reshape(t.shape) for n, t in enumerate(library.inputs)]
    expected = library.run(*inputs)
    sides: tuple[Side, ...] = ("end", "start")
    orders: tuple[Order, ...] = ("serial", "reversed", "parallel")
    probe = Probe(folder) if any(folder.glob("*_probe.so")) else None
    if probe is not None:  # first: it names the kernel
        for side in sides:
            _same(expected, guarded_kernels(probe, inputs, side))
    for side, count in itertools.product(sides, thread_counts):
        for order in orders if count > 1 else orders[:1]:
            print(f"{count} threads, {order}, guards at the {side}", flush=True)
            _same(expected, guarded_run(library, inputs, side, count, order))
    print("ok")


def _same(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> None:
    for number, (want, have) in enumerate(zip(expected, got, strict=True)):
        if want.tobytes() != have.tobytes():
            raise AssertionError(f"output {number} has other bits than an ordinary run")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [1, 3])
