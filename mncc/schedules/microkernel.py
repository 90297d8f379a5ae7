"""The one microkernel: a register tile of pixels x channels that every convolution family and CPU shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from tvm.s_tir import Schedule

from mncc.kernels.tiles import ConvTile
from mncc.schedules.prefetch import mark_loop

FULL = 28
"""Sums and inputs by lane beside which a loop has only the registers of its weights. Where it fetches, it does so
behind its body: LLVM moves loads past it in neither direction."""


@dataclass(frozen=True)
class Sums:
    """Names of the blocks that add up (a part of) a reduction: `block` has the loops (row, column, channel,
    reductions...). Where `steps` of the innermost reduction are taken by lane, `inputs` has (row, column,
    reductions...) and loads what they multiply. `rounds` of them are an iteration of the loop. Where parts of the
    innermost reduction add up by themselves, `part` has (reductions..., row, column, channel, its `length` steps) and
    makes what `block` adds up. With `pairs`, two vectors of weights are multiplied together, if there are as many."""

    block: str
    inputs: str | None = None
    steps: int = 1
    rounds: int = 1
    part: str | None = None
    length: int = 1
    pairs: bool = False

    @property
    def multiplies(self) -> str:
        """The block whose innermost loop goes over the steps."""
        return self.part or self.block

    def element(self, at: Sequence[Any]) -> list[Any]:
        """What the indices of `multiplies` mean: row, column, channel, reductions."""
        if self.part is None:
            return list(at)
        *outer, part, row, column, channel, step = at
        return [row, column, channel, *outer, part * self.length + step]


@dataclass(frozen=True)
class TiledProduct:
    """Names of blocks in one scope, and their tile.

    The first of `sums` starts from the bias, each other one from what the one before it has added up; `out` has the
    loops (row, column, channel), applies the epilogue and writes. Columns and channels divide by the tile.
    """

    sums: tuple[Sums, ...]
    out: str
    tile: ConvTile
    unrolled: int = 0
    """How many of the innermost reduction loops are unrolled. Unrolled taps share their loads where windows overlap:
    good for a depthwise stage, whose loads bound it; a product's sums would be pushed out of the registers."""
    panels_inside: bool = False
    """Whether the loop over panels stands inside of the one over columns: a tile then reads its weights anew, in one
    stream, where else LLVM would keep all taps of one panel and spill them."""
    totals: bool = False
    """Whether `out` is itself a reduction, over the pixels."""
    fetches: bool = False
    """Whether the loop over the reduction is marked, for prefetches."""


def schedule_product(sch: Schedule, product: TiledProduct) -> None:
    """Keeps a tile's sums in vector registers: reductions outermost, pixels and vectors unrolled below them."""
    tile = product.tile
    out = sch.get_sblock(product.out)
    row, column, channel = sch.get_loops(out)[-3:]
    column_tile, column = sch.split(column, [None, tile.cols])
    channel_tile, channel = sch.split(channel, [None, tile.channels])
    outer = [column_tile, channel_tile] if product.panels_inside else [channel_tile, column_tile]
    sch.reorder(*outer, row, column, channel)
    _vectors(sch, channel, tile.lanes)
    sch.unroll(row)
    sch.unroll(column)
    reductions = {sums: _schedule_sums(sch, product, sums, outer[1]) for sums in reversed(product.sums)}
    for sums, loops in reductions.items():
        # Not before all stand where they belong: a part's start, taken out of it, hides that it reads another part.
        for block, loop in loops.items():
            sch.decompose_reduction(sch.get_sblock(block), loop)
        if product.fetches:
            full = tile.accumulators + tile.rows * tile.cols >= FULL
            mark_loop(sch, sums.multiplies, behind=sums.inputs is not None and full)
    if product.totals:
        sch.decompose_reduction(out, column_tile)


def _schedule_sums(sch: Schedule, product: TiledProduct, sums: Sums, tile_loop: object) -> dict[str, object]:
    """The sums of one tile under the loop over tiles. Returns the outermost loop of every block's reduction."""
    block = sch.get_sblock(sums.block)
    sch.compute_at(block, tile_loop, preserve_unit_loops=True)
    loops = sch.get_loops(block)
    inner = loops[loops_above(sch, product.out, tile_loop) :]
    row, column, channel, reductions = inner[0], inner[1], inner[2], inner[3:]
    if sums.part is None:
        _schedule_steps(sch, product, sums, (row, column, channel), reductions, product.unrolled)
        return {sums.block: reductions[0]}
    sch.reorder(*reductions, row, column, channel)
    _vectors(sch, channel, product.tile.lanes)
    sch.unroll(row)
    sch.unroll(column)
    part = sch.get_sblock(sums.part)
    sch.compute_at(part, reductions[-1], preserve_unit_loops=True)
    *pixels, step = sch.get_loops(part)[-4:]
    steps = [step]
    _schedule_steps(sch, product, sums, pixels, steps, min(1, product.unrolled))
    return {sums.part: steps[0], sums.block: reductions[0]}


def _schedule_steps(
    sch: Schedule, product: TiledProduct, sums: Sums, pixels: Sequence[object], reductions: list[object], unrolled: int
) -> None:
    """The loops of a reduction around those of a tile; `reductions` are those that remain loops, changed in place."""
    row, column, channel = pixels
    steps, loading = [], reductions[-1]
    if sums.inputs is not None:
        reductions[-1], loading, step = sch.split(reductions[-1], [None, sums.rounds, sums.steps])
        steps += [loading, step]
        sch.unroll(loading)
        sch.unroll(step)
    elif sums.rounds > 1:
        reductions[-1], step = sch.split(reductions[-1], [None, sums.rounds])
        steps.append(step)
        sch.unroll(step)
    if product.panels_inside and len(reductions) > 1:
        # Row by row of taps, and per pixel along it: three inputs and three weights are live, not a row of inputs.
        sch.reorder(reductions[0], row, column, reductions[1], channel)
    else:
        sch.reorder(*reductions, *steps, row, column, channel)
    vectors = _vectors(sch, channel, product.tile.lanes)
    if sums.inputs is not None:
        _pair_weights(sch, sums, (vectors, row, column))
    sch.unroll(row)
    sch.unroll(column)
    for loop in reductions[len(reductions) - unrolled :]:
        sch.unroll(loop)
    if sums.inputs is not None:
        _load_inputs(sch, sums.inputs, loading)


def _pair_weights(sch: Schedule, sums: Sums, loops: tuple[object, object, object]) -> None:
    """A vector of weights is multiplied with all pixels before the next one, or two of them, which an instruction
    loads."""
    vectors, row, column = loops
    if not sums.pairs or int(sch.get(vectors).extent) % 2:
        sch.reorder(vectors, row, column)
        return
    pairs, pair = sch.split(vectors, [None, 2])
    sch.reorder(pairs, row, column, pair)
    sch.unroll(pairs)
    sch.unroll(pair)


def _load_inputs(sch: Schedule, inputs: str, step_loop: object) -> None:
    """A tile's inputs of some steps, a vector a pixel, just before they are multiplied."""
    block = sch.get_sblock(inputs)
    above = len(sch.get_loops(block))
    sch.compute_at(block, step_loop, preserve_unit_loops=True)
    *pixels, lane = sch.get_loops(block)[-above:]
    for loop in pixels:
        sch.unroll(loop)
    sch.vectorize(lane)


def loops_above(sch: Schedule, block: str, loop: object) -> int:
    """How many loops of `block`'s nest stand at or above `loop`."""
    nest = sch.get_loops(sch.get_sblock(block))
    target = sch.get(loop)
    return 1 + next(i for i, candidate in enumerate(nest) if sch.get(candidate).same_as(target))


def _vectors(sch: Schedule, channel: object, lanes: int) -> object:
    vectors, lane = sch.split(channel, [None, lanes])
    sch.unroll(vectors)
    sch.vectorize(lane)
    return vectors


def schedule_copy(sch: Schedule, block: str, lanes: int = 8, vectors: int = 1) -> None:
    """Vectorises the innermost loop of a copy or fill where vectors fill it; LLVM does so for the others. Up to
    `vectors` of them, as many as fill it too, are copied in an iteration."""
    loop = sch.get_loops(sch.get_sblock(block))[-1]
    extent = int(sch.get(loop).extent)
    if extent % lanes == 0:
        loop, lane = sch.split(loop, [None, lanes])
        sch.vectorize(lane)
        together = gcd(extent // lanes, vectors)
        if together > 1:
            sch.unroll(sch.split(loop, [None, together])[1])
