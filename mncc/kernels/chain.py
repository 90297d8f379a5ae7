"""The family that fuses: chains of pointwise, depthwise and ordinary convolutions on rows of output.

Of every intermediate tensor only the rows that the next stage is reading live in scratch, in a ring, padded with zeros;
none is computed twice by a task, and the tensor never exists whole. On small pictures tasks share out channels instead,
in two phases, and what lies between these does. What an
inverted residual is to one paper and a separable convolution to another is here a tuple of stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any, ClassVar, Literal

import numpy as np

from mncc.kernels.precision import StoredType
from mncc.kernels.tiles import (
    PANEL,
    Block,
    ConvTile,
    Phase,
    Scratch,
    Segment,
    aligned,
    cover_channels,
    pack_panels,
    spread,
    spread_block,
    stored_in_float,
)
from mncc.network.ops import Activation
from mncc.network.window import Pads

NO_PADS: Pads = ((0, 0), (0, 0))
MANY_PIXELS = 16
"""From so many on, a panel of weights that has to be converted is converted once for all of them."""


@dataclass(frozen=True)
class Stage:
    """One convolution with bias and activation; `height` x `width` x `channels` is what it makes.

    `shuffle` groups of the channels that arrive are shuffled first (ShuffleNet, figure 1): channel p is then the one
    that lies at p % shuffle * (channels / shuffle) + p // shuffle. Nothing is moved: a product reads its channels in
    that order, and a depthwise stage leaves the order as it is to the product behind it.
    """

    kind: Literal["conv", "depthwise"]
    height: int
    width: int
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: Pads = NO_PADS
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: Activation | None = None
    shuffle: int = 1

    @property
    def pointwise(self) -> bool:
        """True where an output pixel needs one input pixel at the same place."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == NO_PADS

    @property
    def reach(self) -> int:
        """Input rows, padding included, that one output row needs."""
        return (self.kernel[0] - 1) * self.dilation[0] + 1

    def depth(self, in_channels: int) -> int:
        """Multiply-adds behind one output element."""
        taps = self.kernel[0] * self.kernel[1]
        return taps if self.kind == "depthwise" else taps * (in_channels // self.groups)

    def rows_needed(self, rows: Any) -> Any:
        """Input rows, padding included, behind `rows` output rows; a number, or an expression of a schedule."""
        return (rows - 1) * self.stride[0] + self.reach


@dataclass(frozen=True)
class Chain:
    """What one kernel computes, for one image: (height, width, channels) -> the last stage's shape.

    With `residual` a second input of the output's shape is added, before the last activation where
    `residual_first`. With `pool` the mean over all pixels is all that is written: (1, 1, channels).
    `input_pads` and `output_pads` are zero borders that lie around the tensors in memory; the kernel relies on
    those of its input and writes those of its output. `residual_pads` are those around the second input.
    `input_spare`, `output_spare` and `residual_spare` are floats that lie between two pixels of a tensor and are not
    its own: other parts of a concatenation, or nothing. `weights_dtype` is how kernels are stored; a kernel's weights
    become float32 as they are loaded, or a panel of them at once (`widens`). Biases are float32 always: they are few,
    and every output begins with one. `dtype` is what products multiply in, and the type of all that lies between
    stages; the other types are those of the tensors.
    """

    family: ClassVar[str] = "chain"

    height: int
    width: int
    channels: int
    stages: tuple[Stage, ...]
    residual: bool = False
    residual_first: bool = False
    pool: bool = False
    input_pads: Pads = NO_PADS
    output_pads: Pads = NO_PADS
    residual_pads: Pads = NO_PADS
    input_spare: int = 0
    output_spare: int = 0
    residual_spare: int = 0
    weights_dtype: StoredType = "float32"
    dtype: StoredType = "float32"
    input_dtype: StoredType = "float32"
    residual_dtype: StoredType = "float32"
    output_dtype: StoredType = "float32"

    def in_channels(self, index: int) -> int:
        """Channels that stage `index` reads."""
        return self.channels if index == 0 else self.stages[index - 1].channels

    def in_shape(self, index: int) -> tuple[int, int, int]:
        """(H, W, C) that stage `index` reads, without padding."""
        if index == 0:
            return self.height, self.width, self.channels
        before = self.stages[index - 1]
        return before.height, before.width, before.channels

    def order(self, index: int) -> int:
        """The shuffle in whose order stage `index` finds its input in memory: its own, or that of a depthwise stage
        before it."""
        before = self.stages[index - 1] if index else None
        kept = before.shuffle if before is not None and before.kind == "depthwise" else 1
        assert kept == 1 or self.stages[index].shuffle == 1, "two shuffles meet"
        return kept if kept > 1 else self.stages[index].shuffle

    def widens(self, index: int, steps: int) -> bool:
        """True where a product whose tiles take `steps` inputs by lane reads its weights from a panel in scratch that
        has them in the type it multiplies in. Where an instruction converts while others multiply, or where a picture
        has few pixels, every tile converts what it loads."""
        stage = self.stages[index]
        many = stage.height * stage.width >= MANY_PIXELS
        return self.weights_dtype != self.dtype and stage.kind == "conv" and steps > 1 and many

    @property
    def last(self) -> Stage:
        """The stage that makes the output."""
        return self.stages[-1]

    @property
    def copies_input(self) -> bool:
        """True where the first stage needs padding that its input does not have in memory."""
        need, have = self.stages[0].padding, self.input_pads
        return any(n > h for pair, other in zip(need, have, strict=True) for n, h in zip(pair, other, strict=True))

    @property
    def wanted_pads(self) -> Pads:
        """Borders of the input with which the kernel reads nothing but its memory."""
        return self.stages[0].padding

    @property
    def macs(self) -> int:
        """Multiply-adds of one image, nothing recomputed."""
        return sum(self.stage_macs(index) for index in range(len(self.stages)))

    def depth(self, index: int) -> int:
        """Multiply-adds behind one element that stage `index` makes."""
        return self.stages[index].depth(self.in_channels(index))

    def stage_macs(self, index: int) -> int:
        """Multiply-adds of one stage, of one image."""
        stage = self.stages[index]
        return stage.height * stage.width * stage.channels * self.depth(index)


@dataclass(frozen=True)
class ChainTiles:
    """The knobs of a chain.

    `strip`: output rows computed in one step. What lies between stages is a ring of as many rows as a step reads: of
    those that the step before has made, none is computed again.
    `band`: of a step, the rows for which a depthwise stage runs ahead of the pointwise one behind it.
    `split`: what tasks share out, `rows` of the output or `channels`. A chain of several stages whose channels are
    shared out has two phases (`phases`): all stages but the last, one tile of the first one's channels after the
    other, then the last one. What lies between the phases lies whole in memory that all tasks see.
    """

    strip: int
    band: int
    split: Literal["rows", "channels"]
    stages: tuple[ConvTile, ...]


def segments(chain: Chain, tiles: ChainTiles, index: int) -> tuple[Segment, ...]:
    """How the output channels of a stage (of one group, where there are groups) are cut."""
    stage, tile = chain.stages[index], tiles.stages[index]
    return cover_channels(stage.channels // stage.groups, tile.channels, tile.lanes)


def fuses_band(chain: Chain, index: int) -> bool:
    """True where stage `index` hands its rows in bands straight to a pointwise stage behind it."""
    return index == len(chain.stages) - 2 and chain.stages[index + 1].pointwise


def in_steps(chain: Chain, tiles: ChainTiles) -> bool:
    """True where a task may take several steps."""
    return tiles.split == "rows" and tiles.strip < chain.last.height


def opens(chain: Chain, tiles: ChainTiles) -> bool:
    """True where a task begins with a step that makes no output, only the rows above its first ones."""
    return in_steps(chain, tiles) and any(_opening_rows(chain)[0 if chain.copies_input else 1 :])


def _opening_rows(chain: Chain) -> list[int]:
    """Of the input and of every stage, the most rows that the opening step makes."""
    rows = [0]
    for stage in reversed(chain.stages):
        rows.insert(0, max(0, (rows[0] - 1) * stage.stride[0] + stage.reach))
    return rows


def step_rows(chain: Chain, tiles: ChainTiles) -> list[int]:
    """For every stage, the most rows that a step makes."""
    rows = [min(tiles.strip, chain.last.height)]
    for index in reversed(range(1, len(chain.stages))):
        stage, height = chain.stages[index], chain.in_shape(index)[0]
        more = rows[0] * stage.stride[0] if in_steps(chain, tiles) else stage.rows_needed(rows[0])
        rows.insert(0, min(height, more))
    return [max(pair) for pair in zip(rows, _opening_rows(chain)[1:], strict=True)] if in_steps(chain, tiles) else rows


def in_phases(chain: Chain, tiles: ChainTiles) -> bool:
    """True where tasks share out the channels of several stages."""
    return tiles.split == "channels" and len(chain.stages) > 1


def can_split_channels(chain: Chain) -> bool:
    """True where a tile of the first stage's channels passes through all stages but the last alone: a depthwise stage
    with nothing but a product in front of it, and a product over all channels behind it."""
    stages = chain.stages
    if len(stages) not in (2, 3) or stages[-2].kind != "depthwise" or chain.copies_input:
        return False
    products = all(s.kind == "conv" and s.groups == 1 for s in (*stages[:-2], stages[-1]))
    return products and stages[-1].pointwise and all(s.shuffle == 1 for s in stages)


def shared_array(chain: Chain, tiles: ChainTiles) -> Scratch | None:
    """What lies between two phases, which all tasks see."""
    if not in_phases(chain, tiles):
        return None
    last = len(chain.stages) - 1
    height, width, channels = chain.in_shape(last)
    return _scratch(chain, tiles, last, (height, width, channels), 0)


CHUNK = 64
"""Channels of a pair's first phase that are computed together: four cache lines of every pixel, not half of one."""


def chunks(chain: Chain, tiles: ChainTiles) -> tuple[Segment, ...]:
    """The channels that pass together through the first of two phases, whose panels are its items: a tile of the
    product in front, or some vectors of the depthwise stage."""
    panels = segments(chain, tiles, 0)
    if len(chain.stages) > 2:
        return panels
    (panel,) = panels
    together = gcd(panel.count, max(1, CHUNK // panel.width))
    return (Segment(0, panel.count // together, panel.width * together, panel.lanes),)


NEAR_COLUMNS = 16
"""Up to here four blocks of whole rows lie within the reach of one pointer's loads of two vectors, and so do all tiles
of a row, whose addresses LLVM makes from one."""


def _scratch(chain: Chain, tiles: ChainTiles, index: int, size: tuple[int, int, int], offset: int) -> Scratch:
    """The array of rows, columns and channels that stage `index` reads."""
    rows, columns, channels = size
    block = _block(chain, tiles, index, columns)
    if block is not None:
        whole = -(-columns // block.columns) * block.columns
        return Scratch(index, rows, whole, channels, channels, offset, chain.dtype, block)
    pitch = spread(channels) if chain.stages[index].kind == "conv" else channels
    return Scratch(index, rows, columns, channels, pitch, offset, chain.dtype)


def _block(chain: Chain, tiles: ChainTiles, index: int, columns: int) -> Block | None:
    """Where products take their inputs by lane, what lies between stages has vectors of neighbouring pixels side by
    side: an instruction loads two. What a product reads is cut as its tiles are, if those that write it fit."""
    if index == 0:
        return None
    stage, reader, writer = chain.stages[index], tiles.stages[index], tiles.stages[index - 1]
    product = stage.kind == "conv"
    lanes = reader.steps if product else reader.lanes
    by_lane = stage.pointwise and stage.groups == 1 if product else writer.steps > 1
    if lanes == 1 or not by_lane or writer.lanes != lanes or chain.in_channels(index) % lanes:
        return None
    fits = product and reader.rows == 1 and writer.cols % reader.cols == 0
    near = columns <= NEAR_COLUMNS and not in_phases(chain, tiles)
    return Block(reader.cols, lanes) if fits and not near else spread_block(columns, lanes)


def _chunk_layout(chain: Chain, tiles: ChainTiles) -> tuple[Scratch, ...]:
    """Scratch of the first of two phases: a tile's channels between the product and the depthwise stage."""
    if len(chain.stages) == 2:
        return ()
    height, width, _ = chain.in_shape(1)
    (top, bottom), (left, right) = chain.stages[1].padding
    channels = max(s.width for s in segments(chain, tiles, 0))
    return (_scratch(chain, tiles, 1, (height + top + bottom, width + left + right, channels), 0),)


def scratch_layout(chain: Chain, tiles: ChainTiles) -> tuple[Scratch, ...]:
    """The arrays of a task's scratch: the padded copy of the input where one is needed, what lies between stages, and
    a panel of converted weights. All are live at once while a step is computed, so none share memory. An array of fewer
    rows than its tensor has with its padding is a ring: row r of the padded tensor lies at r modulo its rows."""
    if in_phases(chain, tiles):
        return _with_panel(chain, tiles, _chunk_layout(chain, tiles))
    made = step_rows(chain, tiles)
    layout: list[Scratch] = []
    offset = 0
    for index in reversed(range(len(chain.stages))):
        stage = chain.stages[index]
        height, width, channels = chain.in_shape(index)
        if index > 0 and fuses_band(chain, index - 1):
            size = min(tiles.band, made[index]), width, channels
        elif index > 0 or chain.copies_input:
            (top, bottom), (left, right) = stage.padding
            rows = min(stage.rows_needed(made[index]), height + top + bottom)
            size = rows, width + left + right, channels
        else:
            continue
        layout.append(_scratch(chain, tiles, index, size, offset))
        offset += layout[-1].bytes // layout[-1].each
    return _with_panel(chain, tiles, tuple(layout))


def _with_panel(chain: Chain, tiles: ChainTiles, layout: tuple[Scratch, ...]) -> tuple[Scratch, ...]:
    """The layout with room for the largest panel of weights that is converted, where there is one."""
    panels = (
        chain.depth(index) * segment.width
        for index, tile in enumerate(tiles.stages)
        if chain.widens(index, tile.steps)
        for segment in segments(chain, tiles, index)
    )
    largest, offset = max(panels, default=0), sum(array.bytes // array.each for array in layout)
    panel = Scratch(PANEL, 1, 1, largest, largest, offset, chain.dtype)
    return (*layout, panel) if largest else layout


@dataclass(frozen=True)
class StageWeights:
    """Where the packed arrays of a stage lie in the kernel's weights: `kernel` in elements of the chain's
    `weights_dtype`, `bias` in floats."""

    kernel: int
    bias: int


def weight_layout(chain: Chain) -> tuple[tuple[StageWeights, ...], int]:
    """The layout of a kernel's weights and their total size in floats."""
    layout, offset, each = [], 0, stored_in_float(chain.weights_dtype)
    for index, stage in enumerate(chain.stages):
        bias = offset + aligned(-(-chain.depth(index) * stage.channels // each))
        layout.append(StageWeights(offset * each, bias))
        offset = bias + aligned(stage.channels)
    return tuple(layout), offset


def pack(chain: Chain, tiles: ChainTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat array from every stage's `kernel` (kh, kw, in / groups, out; depthwise kh, kw, channels, 1) and `bias`
    (out,), in the order the microkernels read them; float32, or the memory of as many float32 where kernels are stored
    in less."""
    layout, total = weight_layout(chain)
    packed = np.zeros(total, np.float32)
    kernels = packed.view(chain.weights_dtype)
    for index, (stage, place) in enumerate(zip(chain.stages, layout, strict=True)):
        kernel, bias = arrays[index]["kernel"], arrays[index]["bias"]
        if stage.kind == "depthwise" and stage.shuffle > 1:
            # Its channels stay where they are: the filters of the shuffled order move to them.
            order = np.arange(stage.channels).reshape(-1, stage.shuffle).T.ravel()
            kernel, bias = kernel[:, :, order], bias[order]
        depth = chain.depth(index)
        matrix = kernel.reshape(depth, stage.channels)
        per_group = stage.channels // stage.groups
        flat = [
            pack_panels(matrix[:, g * per_group : (g + 1) * per_group], segments(chain, tiles, index))
            for g in range(stage.groups)
        ]
        kernels[place.kernel : place.kernel + matrix.size] = np.concatenate(flat)
        packed[place.bias : place.bias + stage.channels] = bias
    return packed


def executed_macs(chain: Chain, tiles: ChainTiles, tasks: int = 1) -> int:
    """Multiply-adds of one image, with what neighbouring tasks compute twice."""
    if tiles.split == "channels":
        return chain.macs
    height = chain.last.height
    cuts = [height * task // tasks for task in range(tasks + 1)]
    each = [chain.stage_macs(index) // stage.height for index, stage in enumerate(chain.stages)]
    total = 0
    for begin, end in pairwise(cuts):
        for rows in task_steps(chain, tiles, begin, end):
            total += sum((high - low) * one for (low, high), one in zip(rows[1:], each, strict=True))
    return total


def task_steps(chain: Chain, tiles: ChainTiles, begin: int, end: int) -> Iterator[list[tuple[int, int]]]:
    """What each step makes of a task with the output rows `begin` to `end`: rows of the input and of every stage."""
    if opens(chain, tiles):
        yield fresh_rows(chain, begin, begin, True)
    for low in range(begin, end, tiles.strip):
        yield fresh_rows(chain, low, min(low + tiles.strip, end), not in_steps(chain, tiles))


def fresh_rows(
    chain: Chain, first: Any, last: Any, opening: Any, least: Any = min, most: Any = max
) -> list[tuple[Any, Any]]:
    """The rows of the input, and of every stage's output, that the step which makes the output rows `first` to `last`
    has to make: those behind them, without those behind the rows before `first` unless `opening` (1 or 0). Numbers,
    or expressions of a schedule with its `least` and `most`."""

    def after(stage: Stage, height: int, row: Any) -> Any:
        """One past the last input row behind the output rows before `row`."""
        end = (row - 1) * stage.stride[0] - stage.padding[0][0] + stage.reach
        return row if stage.pointwise else most(0, least(height, end))

    rows, begin, done, end = [(first, last)], first, first, last
    for index in reversed(range(len(chain.stages))):
        stage, height = chain.stages[index], chain.in_shape(index)[0]
        if not stage.pointwise:
            begin = least(height, most(0, begin * stage.stride[0] - stage.padding[0][0]))
        done, end = after(stage, height, done), after(stage, height, end)
        begin = opening * begin + (1 - opening) * most(begin, done)
        rows.insert(0, (begin, most(begin, end)))
    return rows


def phases(chain: Chain, tiles: ChainTiles) -> tuple[Phase, ...]:
    """Work items of one image, phase by phase: output rows, or tiles of channels; of the last of two phases, rows of
    such tiles."""
    height = chain.last.height
    if tiles.split == "rows":
        return (Phase(height, height),)
    if not in_phases(chain, tiles):
        return (Phase(sum(s.count for s in segments(chain, tiles, 0)), 1),)
    first = Phase(sum(s.count for s in chunks(chain, tiles)), 1)
    return first, Phase(height * sum(s.count for s in segments(chain, tiles, len(chain.stages) - 1)), height)


def describe(chain: Chain, tiles: ChainTiles) -> list[str]:
    """Strips, then a line a stage with its tile, for printed plans."""
    stored = "" if chain.weights_dtype == "float32" else f" weights {chain.weights_dtype}"
    half = "" if chain.dtype == "float32" else f" in {chain.dtype}"
    lines = [f"strip {tiles.strip} band {tiles.band} split {tiles.split}{stored}{half}"]
    for stage, tile in zip(chain.stages, tiles.stages, strict=True):
        size = "x".join(map(str, (*stage.kernel, stage.channels)))
        act = f" {stage.activation.describe()}" if stage.activation else ""
        how = f", {tile.steps} inputs at once" if tile.steps > 1 else ", evenly" if tile.evenly else ""
        how += f", unrolled by {tile.unroll}" if tile.unroll > 1 else ""
        lines.append(
            f"  {stage.kind} {size} / {stage.stride[0]}{act} -> {stage.height}x{stage.width}: tile "
            f"{tile.rows}x{tile.cols} pixels x {tile.channels} channels, {tile.lanes} lanes{how}"
        )
    return lines
