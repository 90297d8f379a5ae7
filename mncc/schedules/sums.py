"""The sums of a register tile as blocks: an input at a time, or inputs that are loaded as vectors and taken by lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tvm.script.ir_builder import tirx as T

from mncc.schedules.microkernel import Sums

Expr = Any


@dataclass(frozen=True)
class Sum:
    """What one element (row, column, channel) of a tile adds up: from `start` on, over the `reductions`, an input times
    a weight. `steps` of the innermost reduction read inputs that lie one behind the other."""

    reductions: tuple[int, ...]
    steps: int
    start: Callable[[Expr], Expr]
    """(channel)"""
    value: Callable[[Expr, Expr, Expr, Sequence[Expr]], Expr]
    """(row, column, channel, reductions); inputs taken by lane are the same for all channels."""
    weight: Callable[[Expr, Sequence[Expr]], Expr]
    """(channel, reductions)"""


@dataclass(frozen=True)
class Piece:
    """Of the innermost reduction, `count` elements from `first` on, `steps` of them at once."""

    first: int
    count: int
    steps: int


def pieces(length: int, steps: int) -> Iterator[Piece]:
    """The innermost reduction in whole vectors, and a narrower one for the rest."""
    whole = length // steps * steps
    if whole:
        yield Piece(0, whole, steps)
    if length > whole:
        yield Piece(whole, length - whole, length - whole)


def write_sums(name: str, extents: tuple[int, int, int], work: Sum) -> tuple[Any, dict[Piece, Sums]]:
    """Writes the blocks `sums{name}`... into the function under construction: the buffer (rows, columns, channels) that
    holds the sums in the end, and for each piece of the innermost reduction its blocks, in order."""
    if work.steps == 1:
        whole = Piece(0, work.reductions[-1], 1)
        return _write_piece(f"{name}", extents, work, whole, None), {whole: Sums(f"sums{name}")}
    sums, written = None, {}
    for piece in pieces(work.reductions[-1], work.steps):
        label = f"{name}_{piece.first}" if piece.first else name
        sums = _write_piece(label, extents, work, piece, sums)
        written[piece] = Sums(f"sums{label}", f"inputs{label}", piece.steps)
    return sums, written


def _write_piece(label: str, extents: tuple[int, int, int], work: Sum, piece: Piece, before: Any) -> Any:
    """One piece's blocks; the sums go on from those `before`. Returns their buffer."""
    sums = T.sblock_alloc_buffer(extents, "float32", scope="local")
    reductions = (*work.reductions[:-1], piece.count)
    value = work.value
    if work.steps > 1:
        inputs = _write_inputs(label, extents, work, piece)

        def value(row: Expr, column: Expr, _: Expr, at: Sequence[Expr]) -> Expr:
            return inputs[row, column, *at[:-1], at[-1] - piece.first]

    with T.grid(*extents, *reductions) as indices, T.sblock(f"sums{label}"):
        row, column, channel, *at = T.axis.remap("SSS" + "R" * len(reductions), list(indices))
        with T.init():
            start = work.start(channel) if before is None else before[row, column, channel]
            T.buffer_store(sums, start, [row, column, channel])
        at = _behind(piece, at)
        product = value(row, column, channel, at) * work.weight(channel, at)
        T.buffer_store(sums, sums[row, column, channel] + product, [row, column, channel])
    return sums


def _write_inputs(label: str, extents: tuple[int, int, int], work: Sum, piece: Piece) -> Any:
    """The block that copies the inputs of a piece; of its buffer only what a step reads remains, in registers."""
    shape = (*extents[:2], *work.reductions[:-1], piece.count)
    inputs = T.sblock_alloc_buffer(shape, "float32", scope="local")
    with T.grid(*shape) as indices, T.sblock(f"inputs{label}"):
        row, column, *at = T.axis.remap("S" * len(shape), list(indices))
        T.buffer_store(inputs, work.value(row, column, 0, _behind(piece, at)), [row, column, *at])
    return inputs


def _behind(piece: Piece, at: Sequence[Expr]) -> list[Expr]:
    """Indices of a piece as those of the whole reduction."""
    return [*at[:-1], at[-1] + piece.first] if piece.first else list(at)
