"""The one microkernel: a register tile of pixels x channels that every convolution family and CPU shares."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.s_tir import Schedule

from mncc.kernels.tiles import ConvTile
from mncc.schedules.prefetch import mark_loop


@dataclass(frozen=True)
class TiledProduct:
    """Names of two blocks in one scope, and their tile.

    `sums` has the loops (row, column, channel, reductions...) and starts from the bias; `out` has (row, column,
    channel), applies the epilogue and writes. Columns and channels divide by the tile.
    """

    sums: str
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
    sums, out = sch.get_sblock(product.sums), sch.get_sblock(product.out)
    row, column, channel = sch.get_loops(out)[-3:]
    column_tile, column = sch.split(column, [None, tile.cols])
    channel_tile, channel = sch.split(channel, [None, tile.channels])
    outer = [column_tile, channel_tile] if product.panels_inside else [channel_tile, column_tile]
    sch.reorder(*outer, row, column, channel)
    _vectors(sch, channel, tile.lanes)
    sch.unroll(row)
    sch.unroll(column)
    sch.compute_at(sums, outer[1], preserve_unit_loops=True)
    loops = sch.get_loops(sums)
    inner = loops[loops_above(sch, product.out, outer[1]) :]
    row, column, channel, reductions = inner[0], inner[1], inner[2], inner[3:]
    if product.panels_inside:
        # Row by row of taps, and per pixel along it: three inputs and three weights are live, not a row of inputs.
        sch.reorder(reductions[0], row, column, reductions[1], channel)
    else:
        sch.reorder(*reductions, row, column, channel)
    _vectors(sch, channel, tile.lanes)
    sch.unroll(row)
    sch.unroll(column)
    for loop in reductions[len(reductions) - product.unrolled :]:
        sch.unroll(loop)
    sch.decompose_reduction(sums, reductions[0])
    if product.fetches:
        mark_loop(sch, product.sums)
    if product.totals:
        sch.decompose_reduction(out, column_tile)


def loops_above(sch: Schedule, block: str, loop: object) -> int:
    """How many loops of `block`'s nest stand at or above `loop`."""
    nest = sch.get_loops(sch.get_sblock(block))
    target = sch.get(loop)
    return 1 + next(i for i, candidate in enumerate(nest) if sch.get(candidate).same_as(target))


def _vectors(sch: Schedule, channel: object, lanes: int) -> None:
    vectors, lane = sch.split(channel, [None, lanes])
    sch.unroll(vectors)
    sch.vectorize(lane)


def schedule_copy(sch: Schedule, block: str, lanes: int = 8) -> None:
    """Vectorises the innermost loop of a copy or fill where vectors fill it; LLVM does so for the others."""
    loop = sch.get_loops(sch.get_sblock(block))[-1]
    if int(sch.get(loop).extent) % lanes == 0:
        _, lane = sch.split(loop, [None, lanes])
        sch.vectorize(lane)
