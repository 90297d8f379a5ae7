"""The GPU family of gpu_fused in float16: both products on tensor cores, added up in float32, and between them the
depthwise convolution two channels at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from math import gcd
from typing import Any, ClassVar

import numpy as np

from mncc.kernels.gpu_fused import FusedShape, FusedTiles, GpuFused, describe_shape
from mncc.kernels.gpu_layout import apart
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, PHASE, WarpTiles, half_pitch, padded_matrix, rounded, steps_at_once
from mncc.kernels.gpu_warp_product import staged_floats


@dataclass(frozen=True)
class WarpFused(GpuFused):
    """As its base, of float16."""

    family: ClassVar[str] = "gpu_warp_fused"


@dataclass(frozen=True)
class HalfPlace:
    """Where, in float16 numbers from the start of a chunk's weights, they lie: the lead's, the depthwise taps and
    their biases, and the end."""

    lead: int
    taps: int
    halves: int


@dataclass(frozen=True)
class RunOrder:
    """Which runs of pixels neighbouring threads of the depthwise convolution make: of each, `across` times eight
    channels side by side, then the next run in a row or, `by_rows`, in a column, or of all in that order the one `step`
    behind. Where they are `paired`, each run is followed by that half of all rows further down, or, `by_rows`, half of
    a row's runs further on; of every other `across` times eight channels the last comes first, so that a run without
    a partner is its own. In columns there may be `spare` runs behind the last, of rows that are not there: their
    threads make none."""

    across: int
    by_rows: bool = False
    step: int = 1
    paired: bool = False
    spare: int = 0


@dataclass(frozen=True)
class HalfWindow:
    """Of a window that is copied: from pixel to pixel and from row to row, in eights of channels, and the order in
    which threads make runs of it. Every `apart`th row follows one another: of two, the odd ones behind all even ones.
    """

    pitch: int
    row: int
    order: RunOrder
    apart: int = 1


@dataclass(frozen=True)
class WarpFusedShape(FusedShape):
    """Sizes that follow from a fused kernel and its tiles, in pixels, and in numbers of the type that is named. The
    lead's depth is that of its unrolled window."""

    spec: WarpFused
    tiles: FusedTiles

    clips: ClassVar[bool] = False
    """Fragments of 16 pixels round up what clipping saves, and zeros would have to be written around what is made: by
    the model 0.3% of MobileNetV2's bytes and 1.4% of its time on an A100."""

    @cached_property
    def depth(self) -> int:
        """Unrolled depth of the lead with padding."""
        return rounded(self.unrolled, FRAGMENT)

    @property
    def unrolled(self) -> int:
        """Multiply-adds behind one element of the lead."""
        return self.lead_taps * self.spec.channels

    @property
    def input_pitch(self) -> int:
        """Of the lead's unrolled input in shared memory."""
        return half_pitch(self.depth)

    @property
    def chunk_pitch(self) -> int:
        """Of a chunk's pixels, and of the rows of the lead's weights, in shared memory."""
        return half_pitch(self.tiles.chunk)

    @property
    def tail_pitch(self) -> int:
        """Of the rows of the projection's weights in shared memory."""
        return half_pitch(self.width)

    @cached_property
    def places(self) -> HalfPlace:
        """The layout of one chunk's float16 weights."""
        taps = self.depth * self.tiles.chunk
        return HalfPlace(0, taps, taps + self.tap_halves)

    @property
    def tap_halves(self) -> int:
        """Of a chunk's depthwise taps and their biases, in shared memory too."""
        return (self.taps + 1) * self.tiles.chunk

    @cached_property
    def copied(self) -> HalfWindow | None:
        """Where the depthwise convolution alone has its window, if there is a place where threads meet in no bank."""
        stage, tiles = self.spec.depthwise, self.tiles
        if self.spec.lead or self.spec.tail:
            return None
        return window_apart(replace(tiles, slices=1), self.middle, stage.stride)

    @property
    def middle_pitch(self) -> int:
        """From pixel to pixel of what the depthwise convolution reads."""
        return self.copied.pitch * OCTET if self.copied else self.chunk_pitch

    @property
    def middle_row(self) -> int:
        """From row to row of it."""
        return self.copied.row * OCTET if self.copied else self.middle[1] * self.chunk_pitch

    def middle_line(self, row: Any, y: Any) -> Any:
        """Of a number, or of an expression of one, of a row that is made: where in the window the row lies that tap `y`
        of it reads."""
        stage = self.spec.depthwise
        offset, apart = y * stage.dilation[0], self.copied.apart if self.copied else 1
        if apart == 1:
            return row * stage.stride[0] + offset
        return offset % apart * -(-self.middle[0] // apart) + row + offset // apart

    @property
    def runs(self) -> int:
        """Eights of channels of runs in a chunk, with those that are spare."""
        tiles = self.tiles
        return tiles.chunk // OCTET * (tiles.cols // tiles.run) * (tiles.rows + self.order.spare)

    @cached_property
    def order(self) -> RunOrder:
        """The order of runs in which threads meet least in the banks of shared memory: of those with the most channels
        side by side, the first. Two times eight are a sector of global memory."""
        if self.copied:
            return self.copied.order
        octets, runs = self.tiles.chunk // OCTET, self.tiles.cols // self.tiles.run * self.tiles.rows
        sizes = [octets, *(size for size in (8, 4, 2) if size < octets and octets % size == 0)]
        steps = [step for step in range(1, 18) if gcd(step, runs) == 1]
        orders = [RunOrder(*each) for each in product(sizes, (False, True), steps)]
        pairs = (False, self.tiles.rows), (True, self.tiles.cols // self.tiles.run)
        orders += [RunOrder(size, by, paired=True) for size, (by, count) in product(sizes, pairs) if count > 1]
        return min(orders, key=self._served)

    def _served(self, order: RunOrder) -> int:
        """What shared memory gives, one after the other, for a round of the runs of a chunk in that order."""
        tiles, stage = self.tiles, self.spec.depthwise
        octet, row, column = runs_in_order(tiles, order)
        span = (tiles.run - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1
        pixel, pitch = row * stage.stride[0] * self.middle[1] + column * stage.stride[1], self.chunk_pitch // OCTET
        given = stage.kernel[0] * span * served(pixel * pitch + octet) + self.taps * served(octet)
        return given + (tiles.run * served((row * tiles.cols + column) * pitch + octet) if self.spec.tail else 0)

    @property
    def tail_halves(self) -> int:
        """The projection's weights of one chunk and panel."""
        return self.tiles.chunk * self.width

    @property
    def tail(self) -> int:
        """Where the projection's weights begin, in float16 numbers: behind all chunks; panel after panel."""
        return self.chunks * self.places.halves

    @property
    def halves(self) -> int:
        """All float16 weights."""
        return self.tail + self.panels * self.chunks * (self.tail_halves if self.spec.tail else 0)

    @property
    def biases(self) -> int:
        """Where the biases in float32 begin, in floats: those of the lead chunk after chunk, then the projection's."""
        return rounded(self.halves, 8) // 2

    @property
    def chunk_biases(self) -> int:
        """Biases of one chunk that are float32: the lead's."""
        return self.tiles.chunk if self.spec.lead else 0

    @property
    def bias(self) -> int:
        """Where, among the biases, the projection's begin."""
        return self.chunks * self.chunk_biases

    @property
    def bias_floats(self) -> int:
        """All biases."""
        return self.bias + (self.panels * self.width if self.spec.tail else 0)

    @property
    def weight_floats(self) -> int:
        """All weights and biases of the kernel."""
        return self.biases + self.bias_floats

    @property
    def window_halves(self) -> int:
        """Shared memory of the lead's input, unrolled."""
        return self.made_rows * self.input_pitch if self.spec.lead else 0

    @property
    def picture_halves(self) -> int:
        """Shared memory of that input before it is unrolled; none where the window is one pixel."""
        rows, columns = self.window
        return rounded(rows * columns * self.spec.channels, OCTET) if self.lead_taps > 1 else 0

    @property
    def most_halves(self) -> int:
        """Shared memory of what the lead's pixels are not to be more than, two numbers each; none where all of them lie
        in the picture."""
        return 0 if not self.spec.lead or all(axis.inside for axis in self.lead_axes) else 2 * self.made_rows

    @property
    def middle_halves(self) -> int:
        """Shared memory of what the depthwise convolution reads."""
        return self.made_rows * self.chunk_pitch if self.spec.lead else self.middle[0] * self.middle_row

    @property
    def made_halves(self) -> int:
        """Shared memory of what the projection reads."""
        return self.tiles.tail.height * self.chunk_pitch if self.tiles.tail else 0

    @property
    def lead_halves(self) -> int:
        """Shared memory of the lead's weights of a chunk."""
        return self.depth * self.chunk_pitch if self.spec.lead else 0

    @property
    def staged_tail_halves(self) -> int:
        """Shared memory of the projection's weights of a chunk."""
        return self.tiles.chunk * self.tail_pitch if self.spec.tail else 0

    @property
    def staged_floats(self) -> int:
        """Shared memory of the projection's sums on their way out."""
        return staged_floats(self.tiles.tail) if isinstance(self.tiles.tail, WarpTiles) else 0

    @property
    def shared_bytes(self) -> int:
        """Of a block."""
        halves = self.picture_halves + self.window_halves + self.middle_halves + self.made_halves + self.lead_halves
        halves += self.staged_tail_halves + self.tap_halves + self.most_halves
        return 2 * halves + 4 * (self.chunk_biases + self.staged_floats)


def runs_in_order(tiles: FusedTiles, order: RunOrder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eight channels, row and first column of what each thread makes, the number of the thread being the index."""
    count = tiles.chunk // OCTET * (tiles.cols // tiles.run) * (tiles.rows + order.spare)
    octet, row, run = run_of(np.arange(count), tiles, order)
    return octet, row, run * tiles.run


def run_of(item: Any, tiles: FusedTiles, order: RunOrder) -> tuple[Any, Any, Any]:
    """Of a number, or of an expression of one, of a run: which eight channels, which row, which run of it."""
    octets, runs, across = tiles.chunk // OCTET, tiles.cols // tiles.run, order.across
    rows = tiles.rows + order.spare
    octet, number, count = item % across, item // across, runs * rows
    if across < octets:
        octet, number = octet + number // count * across, number % count
    if order.paired:
        if across < octets:
            number = number + item // across // count % 2 * (count - 1 - 2 * number)
        one, other = pair_of(number, *((runs, tiles.rows) if order.by_rows else (tiles.rows, runs)))
        return (octet, other, one) if order.by_rows else (octet, one, other)
    if order.step > 1:
        number = number * order.step % count
    row, run = (number % rows, number // rows) if order.by_rows else (number // runs, number % runs)
    return octet, row, run


def pair_of(number: Any, rows: int, columns: int) -> tuple[Any, Any]:
    """Row and column of the places of a grid in an order where two and two are half of the rows apart, then, in the
    middle one of an odd number of rows, half of the columns; the very last place may be alone."""
    pairs, whole = rows // 2, rows // 2 * 2 * columns
    first, second = number // 2, number % 2
    row, column = first % pairs + second * (rows - pairs), first // pairs
    if rows % 2 == 0:
        return row, column
    # Without conditions, of which numbers and expressions would have different ones.
    late, left = number // whole, number % whole
    alone = left // 2 + left % 2 * (columns - columns // 2)
    return row + late * (pairs - row), column + late * (alone - column)


@cache
def window_apart(tiles: FusedTiles, size: tuple[int, int], stride: tuple[int, int]) -> HalfWindow | None:
    """The smallest place of a window of `size` pixels, and the first order, in which threads meet in no bank that copy
    it, one pixel behind the other, and that make runs of it; None where none of a few does."""
    octets, runs = tiles.chunk // OCTET, tiles.cols // tiles.run
    orders = [RunOrder(octets), RunOrder(octets, True)]
    spare = -tiles.rows % max(PHASE // octets, 1)
    rounds = [-(-octets * runs * rows // tiles.threads) for rows in (tiles.rows, tiles.rows + spare)]
    if spare and rounds[0] == rounds[1]:
        orders.append(RunOrder(octets, True, spare=spare))
    made = [(order, runs_in_order(tiles, order)) for order in orders]
    pixel, octet = np.divmod(np.arange(size[0] * size[1] * octets), octets)
    groups = (1, 2) if stride[0] == 2 else (1,)
    for pitch, pad in product(range(octets, octets + 2), range(PHASE)):
        row = size[1] * pitch + pad
        if not apart(pixel // size[1] * row + pixel % size[1] * pitch + octet):
            continue
        for group, (order, (eight, line, column)) in product(groups, made):
            place = line * (stride[0] // group) * row + column * stride[1] * pitch + eight
            if apart(place, line < tiles.rows) and apart(eight, line < tiles.rows):
                return HalfWindow(pitch, row, order, group)
    return None


def served(octets: np.ndarray) -> int:
    """What the banks of shared memory give, one after the other, where threads ask for those places in their order,
    eight at once; of the last fewer."""
    groups = (set(octets[start : start + PHASE].tolist()) for start in range(0, octets.size, PHASE))
    return sum(max(Counter(place % PHASE for place in group).values()) for group in groups)


def lane_order(lead: WarpTiles, depth: int) -> np.ndarray:
    """Of the columns of the lead's product as tensor cores have them the channels of a chunk: such that what a lane has
    several halves of fragments are neighbours, and one store takes them all."""
    order, first = [], 0
    for count in lane_halves(lead, depth) * lead.across:
        half, quarter, of_two = np.indices((count, OCTET // 2, 2))
        order.append(first + (quarter * count + half).ravel() * 2 + of_two.ravel())
        first += count * OCTET
    return np.concatenate(order)


def lane_halves(lead: WarpTiles, depth: int) -> list[int]:
    """How many halves of fragments, each of eight columns, a lane stores at once, one after the other for all of a
    warp's: of each it has two neighbours in a row. Where the product is a loop of its own, which the stores come
    behind, one: they are few beside it."""
    steps = depth // FRAGMENT
    if steps_at_once(steps) < steps:
        return [1] * (lead.channels // OCTET)
    fours, rest = divmod(lead.channels // OCTET, 4)
    return [4] * fours + [rest] * bool(rest)


def pack(spec: WarpFused, tiles: FusedTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat array, in the memory of float32, from every stage's `kernel` and `bias`: the float16 weights chunk after
    chunk as `HalfPlace` says, zeros where channels or depth are padding, the projection's, then biases in float32."""
    shape, chunk = WarpFusedShape(spec, tiles), tiles.chunk
    places, whole = shape.places, shape.chunks * chunk
    packed = np.zeros(shape.weight_floats, np.float32)
    halves, biases = packed[: shape.biases].view(np.float16), packed[shape.biases :]
    runs = halves[: shape.tail].reshape(shape.chunks, places.halves)

    def fill(start: int, matrix: np.ndarray, rows: int) -> None:
        """A matrix of (rows, channels of the depthwise stage), cut along the channels."""
        cut = padded_matrix(matrix, rows, whole).reshape(rows, shape.chunks, chunk).transpose(1, 0, 2)
        runs[:, start : start + rows * chunk] = cut.reshape(shape.chunks, -1)

    if isinstance(tiles.lead, WarpTiles):
        lead, order = shape.chunks * chunk, lane_order(tiles.lead, shape.depth)
        kernel = arrays[0]["kernel"].reshape(shape.unrolled, -1)
        biased = padded_matrix(np.vstack([kernel, arrays[0]["bias"][None]]), shape.unrolled + 1, lead)
        biased = biased.reshape(-1, shape.chunks, chunk)[:, :, order].reshape(-1, lead)
        fill(places.lead, biased[:-1], shape.depth)
        biases[:lead] = biased[-1]
    middle = arrays[spec.middle]
    fill(places.taps, middle["kernel"].reshape(shape.taps, spec.depthwise.channels), shape.taps)
    with np.errstate(over="ignore"):
        # A bias past the largest float16 number is infinite, as the sum that begins with it would be.
        fill(places.taps + shape.taps * chunk, middle["bias"][None], 1)
    if spec.tail:
        matrix = arrays[-1]["kernel"].reshape(spec.depthwise.channels, spec.tail.channels)
        full = padded_matrix(matrix, whole, shape.panels * shape.width)
        halves[shape.tail : shape.halves] = full.reshape(whole, shape.panels, -1).transpose(1, 0, 2).ravel()
        biases[shape.bias :][: spec.tail.channels] = arrays[-1]["bias"]
    return packed


def describe(spec: WarpFused, tiles: FusedTiles) -> list[str]:
    """As gpu_fused's."""
    return describe_shape(WarpFusedShape(spec, tiles))
