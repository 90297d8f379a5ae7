"""The sums of a register tile as blocks: an input at a time, or inputs that are loaded as vectors and taken by lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from tvm.script.ir_builder import tirx as T

from mncc.kernels.half import MOST_STEPS, part_of
from mncc.kernels.tiles import AT_ONCE
from mncc.schedules.microkernel import Sums
from mncc.schedules.types import cast, store

Expr = Any
ROUNDS = (4, 2, 1)
"""How many vectors of inputs an iteration may take, those that are best first: the loop's own instructions are the
same for all."""
FEWEST = 3
"""Iterations."""
PAIR_REACH = 1024
"""Bytes behind a pointer that AArch64 loads as pairs of vectors: an iteration's weights."""


@dataclass(frozen=True)
class Sum:
    """What one element (row, column, channel) of a tile adds up: from `start` on, over the `reductions`, an input times
    a weight. `steps` of the innermost reduction read inputs that lie one behind the other."""

    reductions: tuple[int, ...]
    steps: int
    start: Callable[[Expr, Expr], Expr]
    """(column, channel)"""
    value: Callable[[Expr, Expr, Expr, Sequence[Expr]], Expr]
    """(row, column, channel, reductions); inputs taken by lane are the same for all channels."""
    weight: Callable[[Expr, Expr, Sequence[Expr]], Expr]
    """(column, channel, reductions)"""
    dtype: str = "float32"
    """What is multiplied in, and added up in as far as `mncc.kernels.half` lets it."""

    converts: bool = False
    """Whether weights are stored in another type than they are multiplied in."""

    unroll: int = 1
    """Steps in an iteration of the loop, where inputs come one at a time."""

    @property
    def at_once(self) -> bool:
        """True where inputs are taken by lane and all the reduction is one iteration."""
        return self.steps > 1 and prod(self.reductions) <= AT_ONCE

    @property
    def in_parts(self) -> bool:
        """True where only parts of the reduction add up in float16, and these in float32."""
        return self.dtype != "float32" and prod(self.reductions) > MOST_STEPS

    @property
    def sums_dtype(self) -> str:
        """The type of the finished sums."""
        return "float32" if self.in_parts else self.dtype


@dataclass(frozen=True)
class Piece:
    """Of the innermost reduction, `count` elements from `first` on, `steps` of them at once and these `rounds` times
    in an iteration of the loop."""

    first: int
    count: int
    steps: int
    rounds: int = 1


def pieces(work: Sum, channels: int) -> Iterator[Piece]:
    """The innermost reduction of a tile of `channels` in whole vectors, and a narrower one for the rest."""
    length, steps = work.reductions[-1], work.steps
    whole = length // steps * steps
    if whole:
        yield Piece(0, whole, steps, _rounds(work, whole, channels))
    if length > whole:
        yield Piece(whole, length - whole, length - whole)


def _rounds(work: Sum, count: int, channels: int) -> int:
    """How many vectors of a piece of `count` steps an iteration takes. A loop remains, or LLVM would keep more weights
    in registers than there are; of one that runs twice it makes a branch, and loses sums."""
    if work.at_once:
        return count // work.steps
    if work.converts or work.dtype != "float32":
        return 1  # lanes of float16 are those of sixteen registers alone, and what is converted needs more
    inner = part_of(count, work.steps) if work.in_parts else count
    vectors, outer = inner // work.steps, prod(work.reductions[:-1]) * (count // inner)
    each = channels * work.steps * np.dtype(work.dtype).itemsize

    def good(rounds: int) -> bool:
        iterations = vectors // rounds
        loops = iterations >= FEWEST or (iterations == 1 and outer >= FEWEST)
        return vectors % rounds == 0 and each * rounds <= PAIR_REACH and loops

    return next((rounds for rounds in ROUNDS if good(rounds)), 1)


def write_sums(name: str, extents: tuple[int, int, int], work: Sum) -> tuple[Any, dict[Piece, Sums]]:
    """Writes the blocks `sums{name}`... into the function under construction: the buffer (rows, columns, channels) that
    holds the sums in the end, and for each piece of the innermost reduction its blocks, in order."""
    if work.steps == 1:
        whole = Piece(0, work.reductions[-1], 1, work.unroll)
        made = Sums(f"sums{name}", rounds=whole.rounds, **_part(name, work, whole))
        return _write_piece(f"{name}", extents, work, whole, None), {whole: made}
    sums, written = None, {}
    for piece in pieces(work, extents[2]):
        label = f"{name}_{piece.first}" if piece.first else name
        sums = _write_piece(label, extents, work, piece, sums)
        part = _part(label, work, piece)
        pairs = piece.rounds > 1 or (work.dtype != "float32" and not work.converts)
        written[piece] = Sums(f"sums{label}", f"inputs{label}", piece.steps, piece.rounds, pairs=pairs, **part)
    return sums, written


def _part(label: str, work: Sum, piece: Piece) -> dict[str, Any]:
    """What `Sums` says of a piece that adds up in parts."""
    return {"part": f"part{label}", "length": part_of(piece.count, piece.steps)} if work.in_parts else {}


def _write_piece(label: str, extents: tuple[int, int, int], work: Sum, piece: Piece, before: Any) -> Any:
    """One piece's blocks; the sums go on from those `before`. Returns their buffer."""
    sums = T.sblock_alloc_buffer(extents, work.sums_dtype, scope="local")
    reductions = (*work.reductions[:-1], piece.count)
    value = work.value
    if work.steps > 1:
        inputs = _write_inputs(label, extents, work, piece)

        def value(row: Expr, column: Expr, _: Expr, at: Sequence[Expr]) -> Expr:
            return inputs[row, column, *at[:-1], at[-1] - piece.first]

    def product(row: Expr, column: Expr, channel: Expr, at: Sequence[Expr]) -> Expr:
        at = _behind(piece, at)
        return cast(value(row, column, channel, at), work.dtype) * cast(work.weight(column, channel, at), work.dtype)

    added = product
    if work.in_parts:
        reductions, added = _write_parts(label, extents, reductions, piece.steps, product)
    with T.grid(*extents, *reductions) as indices, T.sblock(f"sums{label}"):
        row, column, channel, *at = T.axis.remap("SSS" + "R" * len(reductions), list(indices))
        with T.init():
            start = work.start(column, channel) if before is None else before[row, column, channel]
            store(sums, start, [row, column, channel])
        term = cast(added(row, column, channel, at), work.sums_dtype)
        T.buffer_store(sums, sums[row, column, channel] + term, [row, column, channel])
    return sums


def _write_parts(
    label: str, extents: tuple[int, int, int], reductions: tuple[int, ...], steps: int, product: Callable[..., Expr]
) -> tuple[tuple[int, ...], Callable[..., Expr]]:
    """The block that adds up parts of a reduction in float16. Returns the reduction over the parts, and its terms; of
    the block's buffer only the tile's own part remains, in registers."""
    size = part_of(reductions[-1], steps)
    outer = (*reductions[:-1], reductions[-1] // size)
    parts = T.sblock_alloc_buffer((*outer, *extents), "float16", scope="local")
    with T.grid(*outer, *extents, size) as indices, T.sblock(f"part{label}"):
        *at, row, column, channel, step = T.axis.remap("S" * len(outer) + "SSSR", list(indices))
        place = [*at, row, column, channel]
        with T.init():
            T.buffer_store(parts, T.float16(0), place)
        term = product(row, column, channel, [*at[:-1], at[-1] * size + step])
        T.buffer_store(parts, parts[tuple(place)] + term, place)
    return outer, lambda row, column, channel, at: parts[(*at, row, column, channel)]


def _write_inputs(label: str, extents: tuple[int, int, int], work: Sum, piece: Piece) -> Any:
    """The block that copies the inputs of a piece; of its buffer only what a step reads remains, in registers."""
    shape = (*extents[:2], *work.reductions[:-1], piece.count)
    inputs = T.sblock_alloc_buffer(shape, work.dtype, scope="local")
    with T.grid(*shape) as indices, T.sblock(f"inputs{label}"):
        row, column, *at = T.axis.remap("S" * len(shape), list(indices))
        store(inputs, work.value(row, column, 0, _behind(piece, at)), [row, column, *at])
    return inputs


def _behind(piece: Piece, at: Sequence[Expr]) -> list[Expr]:
    """Indices of a piece as those of the whole reduction."""
    return [*at[:-1], at[-1] + piece.first] if piece.first else list(at)
