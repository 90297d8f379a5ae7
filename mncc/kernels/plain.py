"""The family for everything that is not a chain of convolutions: an operator and the element-wise ones behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mncc.kernels.precision import StoredType
from mncc.kernels.register_cost import INSTRUCTION_SLOTS, INSTRUCTIONS, L3_EXPOSED
from mncc.kernels.slots import Prediction, Slots, stall
from mncc.kernels.target import Target
from mncc.kernels.tiles import aligned
from mncc.network.ops import Concat, Op
from mncc.network.types import TensorType

Shape = tuple[int, ...]
NARROW = 4
"""Vectors shorter than this are not worth it."""
CHUNK = 256
"""Elements; the most that a loop left to LLVM computes together, because every operator's result lies on the stack."""


@dataclass(frozen=True)
class PlainOp:
    """An operator whose operands are inputs of the kernel (number i as -1 - i) or earlier operators (from 0)."""

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Plain:
    """Operators in order, for one image: `inputs` are shapes without the batch, the last operator's is the output.

    `input_spares` (an entry an input, or none at all) and `output_spare` are floats that lie between two pixels of a
    tensor and are not its own. `input_dtypes` (as many) and `output_dtype` are the tensors' types; what lies between is
    float32.
    """

    family: ClassVar[str] = "plain"

    inputs: tuple[Shape, ...]
    ops: tuple[PlainOp, ...]
    input_spares: tuple[int, ...] = ()
    output_spare: int = 0
    input_dtypes: tuple[StoredType, ...] = ()
    output_dtype: StoredType = "float32"

    def types(self) -> tuple[TensorType, ...]:
        """What every operator makes, with a batch of one in front."""
        made: list[TensorType] = []
        for step in self.ops:
            made.append(step.op.infer(*self.operand_types(step, made)))
        return tuple(made)

    def operand_types(self, step: PlainOp, made: list[TensorType] | tuple[TensorType, ...]) -> list[TensorType]:
        """The types of an operator's operands, with a batch of one in front."""
        return [TensorType((1, *self.inputs[-1 - i])) if i < 0 else made[i] for i in step.operands]

    @property
    def output(self) -> Shape:
        """Shape of the result, without the batch."""
        return self.types()[-1].shape[1:]


@dataclass(frozen=True)
class PlainTiles:
    """`chunk` elements of the innermost axis, which they divide, are computed together; a vector holds `lanes`.

    A chunk that is larger or no power of two stays a loop, which LLVM vectorises and gives a tail.
    """

    chunk: int
    lanes: int

    @property
    def is_vector(self) -> bool:
        """True where a chunk is one vector."""
        return self.chunk <= self.lanes and self.chunk & (self.chunk - 1) == 0


@dataclass(frozen=True)
class PlainWeight:
    """One weight array: operator number, role, shape and its place in the kernel's weights, in floats."""

    op: int
    role: str
    shape: Shape
    offset: int


def items(plain: Plain) -> int:
    """Work items of one image: the rows of a picture; a vector is one."""
    shape = plain.output
    return shape[0] if len(shape) == 3 else 1


def choose_tiles(plain: Plain, lanes: int) -> PlainTiles:
    """The widest vectors that divide the innermost axis and cross no border between the parts of a concat."""
    innermost = plain.output[-1]
    widths = [innermost]
    first = plain.ops[0]
    if isinstance(first.op, Concat) and first.op.axis in (-1, len(plain.output)):
        widths = [kind.shape[-1] for kind in plain.operand_types(first, ())]
    chunk = power_of_two(math.gcd(*widths), lanes)
    if chunk < min(lanes, NARROW):
        chunk = max(size for size in range(1, CHUNK + 1) if innermost % size == 0)
    return PlainTiles(chunk, lanes)


def power_of_two(size: int, most: int) -> int:
    """The largest power of two up to `most` that divides `size`."""
    return min(size & -size, most)


def weight_layout(plain: Plain) -> tuple[tuple[PlainWeight, ...], int]:
    """The kernel's weight arrays and their total size in floats."""
    made, layout, offset = plain.types(), [], 0
    for number, step in enumerate(plain.ops):
        for role, kind in step.op.weights(*plain.operand_types(step, made)).items():
            layout.append(PlainWeight(number, role, kind.shape, offset))
            offset += aligned(kind.elements)
    return tuple(layout), offset


def pack(plain: Plain, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat float32 array of the operators' weights."""
    layout, total = weight_layout(plain)
    packed = np.zeros(total, np.float32)
    for weight in layout:
        array = arrays[weight.op][weight.role]
        packed[weight.offset : weight.offset + array.size] = array.ravel()
    return packed


def predict(plain: Plain, tiles: PlainTiles, target: Target) -> Prediction:
    """An operator takes an instruction for each element that it reads, in vectors of the tiles' width where a chunk is
    one and else of half of it; its inputs and its result move through the caches."""
    made, work = plain.types(), 0.0
    lanes = tiles.chunk if tiles.is_vector else max(1, tiles.lanes // 2)
    for step, kind in zip(plain.ops, made, strict=True):
        taps = math.prod(getattr(step.op, "kernel", (1, 1)))
        instructions = INSTRUCTIONS.get(getattr(step.op, "kind", ""), 1)
        read = sum(operand.elements for operand in plain.operand_types(step, made))
        work += max(kind.elements * taps, read) * instructions * INSTRUCTION_SLOTS / lanes
    weights, _ = weight_layout(plain)
    moved = sum(math.prod(shape) for shape in (*plain.inputs, plain.output, *(w.shape for w in weights))) * 4
    per_slot = target.l2_bytes if moved <= target.l2 // 2 else target.l3_bytes
    return Prediction(0.0, (Slots(tiles=work),), Slots(memory=stall(work, moved / per_slot, L3_EXPOSED)))


def describe(plain: Plain) -> list[str]:
    """A line an operator, for printed plans."""
    return [f"{step.op.describe()} {list(step.operands)}" for step in plain.ops]
