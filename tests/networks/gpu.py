"""A network's GPU kernels run on the CPU, each compared with the twin in float64; every tensor between guard pages."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mncc.backend import CudaKernels, Launch, compile_cuda
from mncc.devices.cuda_on_cpu import CudaOnCpu
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.precision import FULL, Precision
from mncc.kernels.target import load_machine
from mncc.language.diagnostic import OutsideError
from mncc.library.nvcc import Nvcc, find_nvcc
from mncc.network.graph import Network
from mncc.plan import make_plan, pack_weights, rewrite, stored_tensors
from mncc.reference import Twin
from mncc.weights import Weights
from tests.networks.compare import errors, expect_close, inputs_of

HALF = Precision("float16", "float16")
HALF_ERROR = 4e-3
"""Of the largest element, where float16 has 11 bits: the operands rounded, the sum, and the result; in between the
stages of a fused kernel once more each."""
ILL_ERROR = 4e-2
"""The same where sums may cancel: of random networks, whose channels are few and whose norms follow anything."""
ALIGN = 16
"""Bytes: what the driver's allocations are aligned to is more, what kernels count on is this."""


def gpu_of(target: str) -> GpuTarget:
    """The GPU of that name."""
    machine = load_machine(target)
    assert isinstance(machine, GpuTarget)
    return machine


def nvcc_or_skip() -> Nvcc:
    """The CUDA compiler of this machine; without one the test is skipped with the reason."""
    try:
        return find_nvcc()
    except OutsideError as error:
        pytest.skip(f"{error}")


def small_board() -> GpuTarget:
    """One of a single multiprocessor, whose blocks take many chunks each: what one needs is on its way while the one
    before is computed."""
    return replace(gpu_of("cuda-sm87"), multiprocessors=1)


def guarded(array: np.ndarray, front: bool = False) -> np.ndarray:
    """The array between pages that nobody may touch: its end as near to one as alignment allows, or its start."""
    size = -(-max(array.nbytes, ALIGN) // ALIGN) * ALIGN
    page = mmap.PAGESIZE
    span = -(-size // page) * page
    raw = np.frombuffer(mmap.mmap(-1, span + 2 * page), np.uint8)
    for start in (0, page + span):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(raw.ctypes.data + start), page, 0) == 0
    start = page if front else page + span - size
    placed = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed


class GpuNetwork:
    """A network planned for a GPU, its kernels compiled for the CPU, and its weights packed."""

    def __init__(
        self,
        network: Network,
        target: str | GpuTarget,
        weights: Weights,
        folder: Path,
        changed: Callable[[CudaKernels], CudaKernels] = lambda kernels: kernels,
        precision: Precision = FULL,
    ) -> None:
        machine = gpu_of(target) if isinstance(target, str) else target
        self.network, self.weights = network, weights
        self.plan = make_plan(network, machine, precision)
        self.kernels = changed(compile_cuda(self.plan))
        self.code = CudaOnCpu(self.kernels.source, folder)
        self.whole = pack_weights(self.plan, weights.tensors)
        # Each kernel's weights by themselves: reading another's is a fault. Once against each page.
        numbers = range(len(self.plan.kernels))
        self.sides = [[guarded(self._packed(number), front) for number in numbers] for front in (False, True)]
        self.packed = self.sides[0]

    def _packed(self, number: int) -> np.ndarray:
        kernel = self.plan.kernels[number]
        return self.whole[kernel.weights_offset // 4 :][: kernel.weight_floats]

    def run(self, inputs: list[np.ndarray], order: int = 0, front: bool = False) -> dict[str, np.ndarray]:
        """What every kernel made, by the value's name; all other memory is NaN before. Arrays end, or begin at the
        `front`, at a page that nobody may touch."""
        memory = self._memory(inputs, front)
        for launch in self.kernels.launches:
            self._launch(launch, memory, order)
        self.memory = memory
        return {kernel.output: self._value(memory, kernel.output) for kernel in self.plan.kernels}

    def run_alone(
        self, inputs: list[np.ndarray], known: dict[str, np.ndarray], order: int, front: bool = False
    ) -> dict[str, np.ndarray]:
        """What every kernel makes of the values that are known, rounded to the type of their tensors; `front` as
        `run`'s."""
        self.memory, made = self._memory(inputs, front), {}
        for number, kernel in enumerate(self.plan.kernels):
            for value in kernel.inputs:
                inside = self.value(value)
                inside[...] = known[self.plan.root(value)].reshape(inside.shape)
            for launch in self.kernels.launches:
                if launch.kernel == number:
                    self._launch(launch, self.memory, order)
            made[kernel.output] = self.value(kernel.output).copy()
        return made

    def value(self, name: str) -> np.ndarray:
        """A value as the last run left it, one that no kernel writes whole (a concat) too."""
        return self._value(self.memory, name)

    def run_one(self, symbol: str, known: dict[str, np.ndarray], order: int) -> dict[str, np.ndarray]:
        """What the first launch of a kernel makes of what it found in the last run, in memory that is NaN before."""
        launch = next(launch for launch in self.kernels.launches if launch.symbol == symbol)
        kernel = self.plan.kernels[launch.kernel]
        written = {self.plan.tensor(value).name for value in kernel.values[len(kernel.inputs) :]}
        memory = {
            name: guarded(np.full_like(array, np.nan)) if name in written else array
            for name, array in self.memory.items()
        }
        self.packed[launch.kernel][...] = guarded(self._packed(launch.kernel))
        self._launch(launch, memory, order)
        assert kernel.output in known
        return {kernel.output: self._value(memory, kernel.output)}

    def _memory(self, inputs: list[np.ndarray], front: bool) -> dict[str, np.ndarray]:
        self.packed = self.sides[front]
        memory = {
            name: guarded(np.full(t.bytes // t.each, np.nan, t.dtype), front) for name, t in self.plan.tensors.items()
        }
        for tensor, array in zip(self.network.inputs, inputs, strict=True):
            memory[tensor.name][...] = array.ravel()
        return memory

    def _launch(self, launch: Launch, memory: dict[str, np.ndarray], order: int) -> None:
        pointers = []
        for argument in launch.arguments:
            value = argument.value
            own = self.packed[launch.kernel] if value is None else memory[self.plan.tensor(value).name]
            pointers.append(own.ctypes.data + argument.offset)
        self.code.launch(launch.symbol, launch.grid, launch.block, pointers, order, launch.shared_bytes)

    def _value(self, memory: dict[str, np.ndarray], value: str) -> np.ndarray:
        """A value out of the tensor that holds it."""
        tensor, (_, start) = self.plan.tensor(value), self.plan.storage(value)
        images = memory[tensor.name].reshape(tensor.type.shape[0], -1)
        whole = images[:, : tensor.image_bytes // tensor.each].reshape(tensor.type.shape)
        view = self.plan.views.views.get(self.plan.root(value))
        return whole[..., start : start + view.channels] if view else whole


def sides(orders: tuple[int, ...]) -> list[tuple[int, bool]]:
    """Each order of threads and whether arrays begin at a page that nobody may touch, or end there: by turns, a lone
    order both ways."""
    return [(order, number % 2 == 1) for number, order in enumerate(orders if len(orders) > 1 else orders * 2)]


def expect_right_on_gpu(
    network: Network,
    weights: Weights,
    folder: Path,
    target: str | GpuTarget,
    orders: tuple[int, ...] = (0, 1, 2),
    ill_conditioned: bool = False,
    precision: Precision = FULL,
) -> GpuNetwork:
    """Every kernel agrees with the twin, whatever the order of the threads; as `expect_right`, where the network may be
    ill-conditioned, as closely as torch's float32. In float16 each runs on the twin's values, and that of the weights
    as they are stored."""
    gpu, inputs = GpuNetwork(network, target, weights, folder, precision=precision), inputs_of(network)
    if precision != FULL:
        held = replace(weights, tensors=stored_tensors(gpu.plan, weights.tensors))
        expect_near_on_gpu(gpu, held, inputs, orders, ILL_ERROR if ill_conditioned else HALF_ERROR)
        return gpu
    planned = rewrite(network)
    outputs = {kernel.output for kernel in gpu.plan.kernels}
    twin = Twin(planned, weights).run(inputs, keep=outputs)
    single = Twin(planned, weights).run(inputs, dtype="float32", keep=outputs) if ill_conditioned else {}
    first: dict[str, np.ndarray] = {}
    for order, front in sides(orders):
        made = gpu.run(inputs, order, front)
        for kernel in gpu.plan.kernels:
            want = twin[kernel.output]
            got, what = made[kernel.output].reshape(want.shape), f"{kernel.name} {kernel.tiles}"
            expect_close(got, want, what, single.get(kernel.output))
        first = first or made
        assert all(np.array_equal(made[value], first[value]) for value in made), f"order {order} changes bits"
    return gpu


def expect_near_on_gpu(
    gpu: GpuNetwork, weights: Weights, inputs: list[np.ndarray], orders: tuple[int, ...], allowed: float
) -> None:
    """Every kernel alone is as near to the twin as float16 allows; its bits do not depend on the order of threads."""
    wanted = {gpu.plan.root(name) for kernel in gpu.plan.kernels for name in (*kernel.inputs, kernel.output)}
    planned = rewrite(gpu.network)
    twin = dict(zip((i.name for i in planned.inputs), inputs, strict=True)) | Twin(planned, weights).run(
        inputs, keep=wanted
    )
    first: dict[str, np.ndarray] = {}
    for order, front in sides(orders):
        made = gpu.run_alone(inputs, twin, order, front)
        for kernel in gpu.plan.kernels:
            want = twin[kernel.output]
            error, _ = errors(made[kernel.output].reshape(want.shape).astype(np.float64), want)
            assert error < allowed, f"{kernel.name} {kernel.tiles}: {error}"
        first = first or made
        assert all(np.array_equal(made[value], first[value]) for value in made), f"order {order} changes bits"
