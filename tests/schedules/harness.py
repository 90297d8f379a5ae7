"""Runs one kernel function on numpy arrays and computes the same in float64."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mncc.backend import KernelFunction, compile_functions
from mncc.kernels.ahead import Ahead, NextRows
from mncc.kernels.chain import Chain, Stage
from mncc.kernels.family import family_of
from mncc.kernels.target import load_target
from mncc.kernels.tunable import Tunable
from mncc.network.window import Pads
from tests.schedules.emulated import Emulated

Arrays = Sequence[Mapping[str, np.ndarray]]


def on_line(array: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """The array as `dtype` on a 64-byte line, its end as near as that allows to a page nobody may touch."""
    each = np.dtype(dtype).itemsize
    size = max(array.size * each, 4)
    span = -(-(-(-size // 64) * 64) // mmap.PAGESIZE) * mmap.PAGESIZE
    region = mmap.mmap(-1, span + mmap.PAGESIZE)
    raw = np.frombuffer(region, np.uint8)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(raw.ctypes.data + span), mmap.PAGESIZE, 0) == 0
    start = span - -(-size // 64) * 64
    placed = raw[start : start + array.size * each].view(dtype).reshape(array.shape)
    placed[...] = array
    return placed


Called = Callable[[int, int, Sequence[np.ndarray]], int]
"""begin, end and the arrays behind a function's pointers -> what it returns."""


def load_function(function: KernelFunction, folder: Path, target: str = "native") -> Called:
    """The function compiled, linked and loaded; that of another processor runs under qemu."""
    facts = load_target(target)
    (folder / "k.o").write_bytes(compile_functions({function: "kernel"}, facts))
    if not facts.triple.startswith("x86"):
        return Emulated.link(folder / "k.o", folder, facts)
    subprocess.run(["cc", "-shared", "-o", folder / "k.so", folder / "k.o", "-lm"], check=True)
    loaded = ctypes.CDLL(str(folder / "k.so"))["kernel"]
    return lambda begin, end, arrays: loaded(begin, end, *(ctypes.c_void_p(a.ctypes.data) for a in arrays))


@dataclass
class ChainRun:
    """A chain or Winograd convolution compiled, with weights and inputs; `run` computes ranges of items in order, from
    the `source` as it lies in memory."""

    chain: Chain
    tiles: Tunable
    folder: Path
    seed: int = 0
    target: str = "native"
    ahead: Ahead | NextRows | None = None

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        chain = self.chain
        self.shared = family_of(chain).shared(chain, self.tiles)
        count = 2 + chain.residual + (self.shared is not None)
        function = KernelFunction(chain, self.tiles, (True,) * count, self.ahead)
        self.function = load_function(function, self.folder, self.target)
        self.arrays = [_stage_arrays(chain, i, rng) for i in range(len(chain.stages))]
        self.input = rng.standard_normal((chain.height, chain.width, chain.channels)).astype(chain.input_dtype)
        last = chain.last
        self.addend = rng.standard_normal((last.height, last.width, last.channels)).astype(chain.residual_dtype)
        own = family_of(chain).pack(chain, self.tiles, self.arrays)
        behind = 0
        if isinstance(self.ahead, Ahead):
            behind = self.ahead.start + self.ahead.floats - own.size
            # Past the last panel, which may be narrow, it fetches what is there.
            behind += 4 * self.ahead.own.floats if self.ahead.own else 0
        self.packed = on_line(np.concatenate([own, np.zeros(behind, np.float32)]))

    def run(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """The output with its borders; scratch is fresh and full of NaN for every range, and so is what lies between
        the pixels of all tensors."""
        chain = self.chain
        shape = (1, 1, chain.last.channels) if chain.pool else self.addend.shape
        output = on_line(np.full(_bordered(shape, chain.output_pads, chain.output_spare), np.nan), chain.output_dtype)
        tensors = [on_line(_placed(self.input, chain.input_pads, chain.input_spare), chain.input_dtype)]
        if chain.residual:
            placed = _placed(self.addend, chain.residual_pads, chain.residual_spare)
            tensors.append(on_line(placed, chain.residual_dtype))
        if self.shared is not None:
            tensors.append(on_line(np.full(self.shared.floats, np.nan), chain.dtype))
        self.source = tensors[0]
        arrays = family_of(chain).scratch(chain, self.tiles)
        for begin, end in ranges:
            elements = sum(array.bytes // array.each for array in arrays)
            scratch = on_line(np.full(elements, np.nan), chain.dtype)
            assert self.function(begin, end, (self.packed, scratch, *tensors, output)) == 0
        (top, bottom), (left, right) = chain.output_pads
        between = output[top : output.shape[0] - bottom, left : output.shape[1] - right, shape[2] :]
        assert np.isnan(between).all(), "the kernel wrote between its pixels"
        return output[..., : shape[2]]

    def expected(self) -> np.ndarray:
        """The output with its borders in float64."""
        value = self.input.astype(np.float64)
        for index, stage in enumerate(self.chain.stages):
            value = _stage(stage, value, self.arrays[index])
            if self.chain.residual and index == len(self.chain.stages) - 1 and self.chain.residual_first:
                value = value + self.addend
            if stage.activation is not None:
                assert stage.activation.kind == "relu6"
                value = np.clip(value, 0, 6)
        if self.chain.residual and not self.chain.residual_first:
            value = value + self.addend
        if self.chain.pool:
            value = value.mean((0, 1), keepdims=True)
        return np.pad(value, (*self.chain.output_pads, (0, 0)))


def _bordered(shape: Sequence[int], pads: Pads, spare: int) -> tuple[int, int, int]:
    return shape[0] + sum(pads[0]), shape[1] + sum(pads[1]), shape[2] + spare


def _placed(value: np.ndarray, pads: Pads, spare: int) -> np.ndarray:
    """A tensor in memory: zeros around it, NaN between its pixels."""
    bordered = np.pad(value, (*pads, (0, 0)))
    return np.pad(bordered, ((0, 0), (0, 0), (0, spare)), constant_values=np.nan)


def _stage_arrays(chain: Chain, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    stage, depth = chain.stages[index], chain.stages[index].depth(chain.in_channels(index))
    inner = (
        (stage.channels, 1) if stage.kind == "depthwise" else (chain.in_channels(index) // stage.groups, stage.channels)
    )
    kernel = rng.standard_normal((*stage.kernel, *inner)) / depth**0.5
    kernel = kernel.astype(chain.weights_dtype).astype(np.float32)
    return {"kernel": kernel, "bias": rng.standard_normal(stage.channels).astype(np.float32)}


def _stage(stage: Stage, value: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One convolution in float64, tap by tap."""
    value = value.reshape(*value.shape[:-1], stage.shuffle, -1).swapaxes(-1, -2).reshape(value.shape)
    kernel, padded = arrays["kernel"].astype(np.float64), np.pad(value, (*stage.padding, (0, 0)))
    total = np.zeros((stage.height, stage.width, stage.channels)) + arrays["bias"]
    for y in range(stage.kernel[0]):
        for x in range(stage.kernel[1]):
            rows = slice(
                y * stage.dilation[0], y * stage.dilation[0] + (stage.height - 1) * stage.stride[0] + 1, stage.stride[0]
            )
            columns = slice(
                x * stage.dilation[1], x * stage.dilation[1] + (stage.width - 1) * stage.stride[1] + 1, stage.stride[1]
            )
            taken = padded[rows, columns]
            if stage.kind == "depthwise":
                total += taken * kernel[y, x, :, 0]
                continue
            width, depth = stage.channels // stage.groups, taken.shape[-1] // stage.groups
            for g in range(stage.groups):
                part = slice(g * width, (g + 1) * width)
                total[..., part] += taken[..., g * depth : (g + 1) * depth] @ kernel[y, x, :, part]
    return total
