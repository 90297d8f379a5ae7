"""Every operator that is no convolution, alone and with epilogues behind it, against its torch twin in float64.

All kernels of a target are one object, so that LLVM starts once. Inputs, weights and outputs lie between guard pages.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
import torch

from mncc.backend import KernelFunction, compile_functions
from mncc.devices.guarded import GuardedBuffer, Side
from mncc.kernels import plain as plains
from mncc.kernels.plain import Plain, PlainOp, choose_tiles, items
from mncc.kernels.target import load_target
from mncc.network.ops import (
    Activation,
    Add,
    AvgPool,
    ChannelShuffle,
    Concat,
    GlobalPool,
    MaxPool,
    Mean,
    Multiply,
    Norm,
    Op,
    Reshape,
    Slice,
    Softmax,
    Upsample,
)
from mncc.network.ops.activation import KINDS
from tests.networks.specials import expect_specials, with_specials

TARGETS = ("native", "x86-64-v3")
PADS = ((1, 1), (1, 1))
RELU6, SWISH = Activation("relu6"), Activation("swish")


def kernel(shapes: Sequence[tuple[int, ...]], *steps: Op | tuple[Op, tuple[int, ...]]) -> Plain:
    """A kernel of operators: the first reads all inputs, a later one what the one before made.

    A step with operands says itself what it reads: input i as -1 - i, operator i as i.
    """
    ops = []
    for number, step in enumerate(steps):
        usual = (number - 1,) if number else tuple(-1 - i for i in range(len(shapes)))
        op, operands = step if isinstance(step, tuple) else (step, usual)
        ops.append(PlainOp(op, operands))
    return Plain(tuple(shapes), tuple(ops))


POOLS = {
    "maxpool": kernel([(15, 13, 16)], MaxPool((3, 3), (2, 2), PADS)),
    "maxpool odd channels": kernel([(9, 11, 5)], MaxPool((3, 2), (2, 1), ((1, 0), (0, 1)))),
    "maxpool ceil": kernel([(12, 14, 24)], MaxPool((3, 3), (2, 2), ceil=True)),
    "maxpool ceil padded": kernel([(7, 8, 3)], MaxPool((3, 3), (3, 3), ((1, 0), (1, 1)), ceil=True)),
    "maxpool ceil of one window": kernel([(4, 5, 7)], MaxPool((2, 2), (5, 4), ceil=True)),
    "maxpool large": kernel([(9, 9, 8)], MaxPool((9, 9), (1, 1), ((4, 4), (4, 4)))),
    "maxpool whole": kernel([(5, 6, 20)], MaxPool((5, 6), (1, 1))),
    "avgpool": kernel([(10, 9, 32)], AvgPool((2, 2), (2, 2))),
    "avgpool counted": kernel([(9, 10, 16)], AvgPool((3, 3), (2, 2), PADS)),
    "avgpool uncounted": kernel([(9, 10, 12)], AvgPool((3, 3), (2, 2), PADS, count_include_pad=False)),
    "avgpool uncounted odd": kernel([(6, 7, 3)], AvgPool((3, 2), (1, 2), ((2, 0), (1, 1)), count_include_pad=False)),
    "avgpool ceil": kernel([(8, 7, 6)], AvgPool((3, 3), (2, 2), ceil=True)),
    "avgpool ceil counted": kernel([(8, 9, 16)], AvgPool((3, 3), (3, 2), ((1, 1), (0, 1)), ceil=True)),
    "avgpool ceil uncounted": kernel([(8, 9, 16)], AvgPool((3, 3), (3, 2), PADS, ceil=True, count_include_pad=False)),
    "avgpool large": kernel([(14, 14, 8)], AvgPool((7, 7), (1, 1))),
    "global average": kernel([(7, 7, 48)], GlobalPool()),
    "global average odd": kernel([(3, 5, 37)], GlobalPool()),
    "global largest": kernel([(7, 6, 20)], GlobalPool("max")),
    "global of one pixel": kernel([(1, 1, 9)], GlobalPool()),
    "mean of rows": kernel([(5, 7, 16)], Mean(1)),
    "mean of columns": kernel([(5, 7, 9)], Mean(2)),
    "mean of many vectors": kernel([(40, 3000)], Mean(1)),
    "mean of rows of one channel": kernel([(6, 5, 1)], Mean(1)),
    "softmax of many pairs": kernel([(40, 5000)], Softmax()),
    "mean of channels": kernel([(5, 7, 33)], Mean(-1)),
    "mean of a vector": kernel([(50,)], Mean(1)),
}
MOVES = {
    "shuffle 2": kernel([(5, 4, 16)], ChannelShuffle(2)),
    "shuffle 3": kernel([(3, 7, 36)], ChannelShuffle(3)),
    "shuffle into ones": kernel([(2, 3, 7)], ChannelShuffle(7)),
    "reshape to a vector": kernel([(3, 5, 8)], Reshape((120,))),
    "reshape to a picture": kernel([(60,)], Reshape((3, 4, 5))),
    "reshape to pairs": kernel([(6, 5, 14)], Reshape((105, 4))),
    "reshape to four axes": kernel([(4, 4, 12)], Reshape((4, 4, 3, 4))),
    "reshape of four axes": kernel([(4, 4, 3, 4)], Reshape((8, 24, 1))),
    "slice channels": kernel([(4, 5, 32)], Slice(-1, 8, 24)),
    "slice odd channels": kernel([(4, 5, 13)], Slice(3, 3, 4)),
    "slice rows": kernel([(9, 4, 8)], Slice(1, 2, 7)),
    "slice columns": kernel([(3, 9, 6)], Slice(2, 1, 8)),
    "slice a vector": kernel([(40,)], Slice(1, 5, 29)),
    "concat 2": kernel([(5, 6, 16), (5, 6, 32)], Concat()),
    "concat 2 odd": kernel([(5, 6, 3), (5, 6, 8)], Concat()),
    "concat 3": kernel([(4, 3, 8), (4, 3, 5), (4, 3, 3)], Concat()),
    "concat 4": kernel([(4, 3, 64), (4, 3, 16), (4, 3, 32), (4, 3, 16)], Concat()),
    "concat 5": kernel([(2, 3, 1), (2, 3, 2), (2, 3, 4), (2, 3, 8), (2, 3, 1)], Concat()),
    "concat of one": kernel([(3, 4, 8)], Concat()),
    "concat with itself": kernel([(3, 4, 8)], (Concat(), (-1, -1))),
    "concat rows": kernel([(2, 5, 8), (3, 5, 8), (1, 5, 8)], Concat(1)),
    "concat columns": kernel([(3, 2, 5), (3, 4, 5)], Concat(2)),
    "concat vectors": kernel([(16,), (7,), (9,)], Concat()),
    "concat pairs": kernel([(9, 4), (21, 4), (2, 4)], Concat(1)),
    "nearest": kernel([(5, 4, 16)], Upsample((10, 8))),
    "nearest odd": kernel([(5, 4, 7)], Upsample((13, 3))),
    "bilinear": kernel([(5, 4, 16)], Upsample((10, 8), "bilinear")),
    "bilinear odd": kernel([(6, 5, 3)], Upsample((4, 11), "bilinear")),
    "bilinear corners": kernel([(5, 4, 8)], Upsample((9, 10), "bilinear", True)),
    "bilinear corners to one": kernel([(5, 4, 6)], Upsample((1, 7), "bilinear", True)),
}
ELEMENTS = {
    **{kind: kernel([(5, 7, 16)], Activation(kind, 0.2)) for kind in KINDS},
    **{f"{kind} of a vector": kernel([(21,)], Activation(kind, 0.2)) for kind in KINDS},
    "softmax": kernel([(1000,)], Softmax()),
    "softmax odd": kernel([(13,)], Softmax()),
    "softmax of a picture": kernel([(5, 4, 21)], Softmax()),
    "softmax of lanes": kernel([(3, 4, 32)], Softmax()),
    "softmax of pairs": kernel([(30, 11)], Softmax()),
    "softmax of one": kernel([(2, 2, 1)], Softmax()),
    "norm": kernel([(5, 7, 24)], Norm(1e-3)),
    "norm of a vector": kernel([(35,)], Norm()),
    "add": kernel([(5, 7, 24), (5, 7, 24)], Add()),
    "add itself": kernel([(5, 7, 6)], (Add(), (-1, -1))),
    "add vectors": kernel([(19,), (19,)], Add()),
    "add a vector": kernel([(5, 7, 16), (16,)], Add()),
    "add a picture to a vector": kernel([(12,), (3, 5, 12)], Add()),
    "multiply": kernel([(4, 6, 10), (4, 6, 10)], Multiply()),
    "multiply by a gate": kernel([(4, 6, 16), (1, 1, 16)], Multiply()),
    "multiply by a map": kernel([(4, 6, 16), (4, 6, 1)], Multiply()),
    "multiply outer": kernel([(4, 1, 5), (1, 6, 1)], Multiply()),
    "multiply by one number": kernel([(3, 4, 8), (1,)], Multiply()),
}
EPILOGUES = {
    "maxpool norm relu": kernel([(8, 9, 16)], MaxPool((3, 3), (2, 2), PADS), Norm(), Activation("relu")),
    "avgpool swish": kernel([(8, 9, 5)], AvgPool((3, 3), (2, 2), PADS, count_include_pad=False), SWISH),
    "avgpool add": kernel([(8, 9, 8), (4, 4, 8)], (AvgPool((2, 2), (2, 2)), (-1,)), (Add(), (0, -2)), RELU6),
    "maxpool times itself": kernel([(6, 6, 8)], MaxPool((2, 2), (2, 2)), (Multiply(), (0, 0))),
    "global hard sigmoid": kernel([(5, 5, 16)], GlobalPool(), Activation("hard_sigmoid")),
    "global largest leaky": kernel([(5, 5, 9)], GlobalPool("max"), Activation("leaky", 0.3)),
    "mean norm": kernel([(5, 7, 16)], Mean(1), Norm(), Activation("sigmoid")),
    "mean of channels swish": kernel([(5, 7, 16)], Mean(3), SWISH),
    "mean of channels as a gate": kernel([(5, 7, 16), (5, 7, 1)], (Mean(3), (-1,)), (Multiply(), (0, -2))),
    "softmax weighed": kernel([(40,), (40,)], (Softmax(), (-1,)), (Multiply(), (0, -2))),
    "softmax picture norm": kernel([(3, 4, 16)], Softmax(), Norm(), Activation("relu")),
    "concat norm relu": kernel([(4, 5, 16), (4, 5, 8)], Concat(), Norm(), Activation("relu")),
    "concat swish odd": kernel([(4, 5, 3), (4, 5, 4), (4, 5, 6)], Concat(), SWISH),
    "concat add": kernel([(4, 5, 4), (4, 5, 4), (4, 5, 8)], (Concat(), (-1, -2)), (Add(), (0, -3)), RELU6),
    "concat vectors sigmoid": kernel([(16,), (5,)], Concat(), Activation("sigmoid")),
    "shuffle norm": kernel([(4, 5, 12)], ChannelShuffle(3), Norm(), RELU6),
    "slice norm": kernel([(4, 5, 12)], Slice(3, 4, 12), Norm(), SWISH),
    "nearest add": kernel([(3, 4, 8), (6, 8, 8)], (Upsample((6, 8)), (-1,)), (Add(), (0, -2)), RELU6),
    "bilinear add swish": kernel(
        [(3, 4, 8), (7, 9, 8)], (Upsample((7, 9), "bilinear"), (-1,)), (Add(), (0, -2)), SWISH
    ),
    "norm relu norm": kernel([(4, 5, 12)], Norm(), Activation("relu"), Norm(1e-2)),
    "add norm hard swish": kernel([(4, 5, 12), (4, 5, 12)], Add(), Norm(), Activation("hard_swish")),
    "add twice": kernel([(4, 5, 8), (8,)], Add(), (Add(), (0, -1)), Activation("relu")),
    "gate add": kernel([(4, 5, 8), (1, 1, 8), (4, 5, 8)], (Multiply(), (-1, -2)), (Add(), (0, -3))),
    "activations": kernel([(4, 5, 8)], *(Activation(kind) for kind in KINDS)),
    "reshape alone": kernel([(3, 2, 9)], Reshape((54,))),
}
CASES = POOLS | MOVES | ELEMENTS | EPILOGUES
EXACT = tuple(MOVES.keys() - {name for name in MOVES if name.startswith("bilinear")})
"""Kernels that only move elements."""
PACKED = (
    *("maxpool", "maxpool ceil", "avgpool", "avgpool counted", "global average", "mean of rows", "slice channels"),
    *("concat 2", "concat 4", "concat rows", "concat norm relu", "nearest", "bilinear", "nearest add"),
    *("relu6", "swish", "norm", "add", "add a vector", "multiply by a gate", "avgpool add"),
)
"""Kernels whose channels fill vectors."""


class Compiled:
    """Every case compiled for a target, half of them for tensors on 64-byte lines, the others for any place."""

    def __init__(self, target: str, folder: str) -> None:
        found = load_target(target)
        functions = {}
        self.align: dict[str, int] = {}
        for number, (name, plain) in enumerate(CASES.items()):
            aligned = number % 2 == 0
            self.align[name] = 64 if aligned else 4
            tiles = choose_tiles(plain, found.lanes)
            function = KernelFunction(plain, tiles, (aligned,) * (len(plain.inputs) + 1))
            functions[function] = f"kernel{number}"
        with open(f"{folder}/k.o", "wb") as file:
            file.write(compile_functions(functions, found))
        subprocess.run(["cc", "-shared", "-o", f"{folder}/k.so", f"{folder}/k.o", "-lm"], check=True)
        self.folder = folder
        library = ctypes.CDLL(f"{folder}/k.so")
        symbols = {function.spec: symbol for function, symbol in functions.items()}
        self.symbols = {name: symbols[plain] for name, plain in CASES.items()}
        self.functions = {name: library[symbol] for name, symbol in self.symbols.items()}

    def run(
        self, name: str, inputs: Sequence[np.ndarray], packed: np.ndarray, side: Side, ranges: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """The output after the given ranges of items; what was not written is NaN."""
        plain, align = CASES[name], self.align[name]
        sources = [GuardedBuffer(array.nbytes, side, array, align).read_only() for array in inputs]
        weights = GuardedBuffer(packed.nbytes, side, packed, 64).read_only()
        sink = GuardedBuffer(4 * int(np.prod(plain.output)), side, align=align)
        scratch = GuardedBuffer(0, side, align=64)
        buffers = (weights, scratch, *sources, sink)
        for begin, end in ranges:
            assert self.functions[name](begin, end, *(ctypes.c_void_p(b.bytes.ctypes.data) for b in buffers)) == 0
        sink.check(name)
        return sink.floats(plain.output).copy()


@cache
def arrays_of(name: str) -> tuple[list[np.ndarray], list[Mapping[str, np.ndarray]]]:
    """Inputs and every operator's weights; the numbers depend on the case alone."""
    plain = CASES[name]
    rng = np.random.default_rng([len(name), *name.encode()])
    inputs = [(rng.standard_normal(shape) * 3).astype(np.float32) for shape in plain.inputs]
    made = plain.types()
    weights = []
    for step in plain.ops:
        roles = step.op.weights(*plain.operand_types(step, made))
        drawn = {role: rng.standard_normal(kind.shape).astype(np.float32) for role, kind in roles.items()}
        if "variance" in drawn:
            drawn["variance"] = np.abs(drawn["variance"]) + np.float32(0.5)
        weights.append(drawn)
    return inputs, weights


def expected_of(name: str, inputs: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """The twins in float64, on the case's inputs or others."""
    plain, (usual, weights) = CASES[name], arrays_of(name)
    inputs = usual if inputs is None else inputs
    sources = [torch.from_numpy(array).double()[None] for array in inputs]
    made: list[torch.Tensor] = []
    for step, roles in zip(plain.ops, weights, strict=True):
        operands = [sources[-1 - i] if i < 0 else made[i] for i in step.operands]
        made.append(step.op.torch(operands, {role: torch.from_numpy(a).double() for role, a in roles.items()}))
    return made[-1][0].numpy()


@pytest.fixture(scope="module", params=TARGETS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(request.param, str(tmp_path_factory.mktemp("plain")))


@pytest.mark.parametrize("name", CASES)
def test_plain(name: str, compiled: Compiled) -> None:
    plain, (inputs, weights) = CASES[name], arrays_of(name)
    packed, count = plains.pack(plain, weights), items(plain)
    whole, expected = compiled.run(name, inputs, packed, "end", [(0, count)]), expected_of(name)
    assert whole.shape == expected.shape and np.isfinite(whole).all()
    assert np.abs(whole - expected).max() <= (0 if name in EXACT else 2e-6 * np.abs(expected).max())
    # Bits do not depend on where the buffers lie, nor on how items are shared out and in which order.
    assert np.array_equal(compiled.run(name, inputs, packed, "start", [(0, count)]), whole)
    ranges = list(itertools.pairwise(sorted({0, count // 3, count * 2 // 3, count})))
    for order in (ranges, ranges[::-1], [(i, i + 1) for i in reversed(range(count))]):
        assert np.array_equal(compiled.run(name, inputs, packed, "end", order), whole)


@pytest.mark.parametrize("name", [name for name in CASES if name != "softmax of one"])  # TVM takes x - x for 0
def test_nan_and_infinity(name: str, compiled: Compiled) -> None:
    """They come out where torch has them, and nowhere else."""
    plain, (inputs, weights) = CASES[name], arrays_of(name)
    inputs = [with_specials(array, seed) for seed, array in enumerate(inputs)]
    expect_specials(
        compiled.run(name, inputs, plains.pack(plain, weights), "end", [(0, items(plain))]), expected_of(name, inputs)
    )


@pytest.mark.parametrize("name", [name for name, plain in CASES.items() if items(plain) > 1])
def test_an_item_is_a_row(name: str, compiled: Compiled) -> None:
    """A task writes its rows and no others."""
    plain, (inputs, weights) = CASES[name], arrays_of(name)
    got = compiled.run(name, inputs, plains.pack(plain, weights), "end", [(1, 2)])
    assert np.isfinite(got[1]).all() and np.isnan(np.delete(got, 1, 0)).all()


def test_vectors_where_channels_allow_them(compiled: Compiled) -> None:
    """No result of these kernels is stored float by float."""
    dump = ["objdump", "-d", "--no-show-raw-insn", f"{compiled.folder}/k.o"]
    listing = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    code = dict(re.findall(r"^[0-9a-f]+ <(\w+)>:\n((?:.+\n)*)", listing, re.M))
    for name in PACKED:
        assert re.search("%[yz]mm", code[compiled.symbols[name]]), name
        assert not re.search(r"(vmovss|vextractps) .*\)$", _stores(code[compiled.symbols[name]]), re.M), name


def _stores(code: str) -> str:
    """Instructions whose last operand is memory, but for what goes to the stack."""
    return "\n".join(line for line in code.splitlines() if line.endswith(")") and not re.search(r"%r[sb]p[),]", line))
