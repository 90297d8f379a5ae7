"""What the writers of GPU kernels share: tensors in global memory, windows in shared memory, cooperative copies, the
product of a register tile, and how all that is bound to threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_tiles import OCTET, PHASE, QUAD, ThreadTiles
from mncc.kernels.precision import StoredType
from mncc.schedules.cuda.halves import round_halves
from mncc.schedules.function import scheduled_function
from mncc.schedules.types import store

Expr = Any
SHARED = "shared"
"""Static shared memory. Of arrays in dynamic shared memory TVM believes that each overlaps all others, and puts a
barrier between any two accesses, or refuses where one would stand under a condition."""
GRID = ("blockIdx.z", "blockIdx.y", "blockIdx.x", "threadIdx.x")
"""What the four loops around a block's work are bound to: images, tiles of pixels, tiles of channels, threads."""


@dataclass(frozen=True)
class TensorPlace:
    """How a tensor of pictures lies in global memory, in elements: `pitch` from pixel to pixel, `stride` from image to
    image; accesses of `lanes` elements are aligned."""

    pitch: int
    stride: int
    lanes: int


@dataclass(frozen=True)
class Tensor:
    """A parameter of a kernel, as one flat buffer."""

    buffer: Any
    height: int
    width: int
    channels: int
    place: TensorPlace

    def at(self, image: Expr, row: Expr, column: Expr, channel: Expr) -> Expr:
        """Index of an element."""
        return image * self.place.stride + (row * self.width + column) * self.place.pitch + channel

    def from_each(self, channels: int) -> Tensor:
        """The tensor with accesses of so few lanes that they are aligned from every multiple of `channels` on."""
        return replace(self, place=replace(self.place, lanes=gcd(self.place.lanes, channels)))

    def shuffled(self, channel: Expr, groups: int) -> Expr:
        """Where a channel of the shuffled tensor lies (`Stage.shuffle`)."""
        return channel % groups * (self.channels // groups) + channel // groups if groups > 1 else channel


def tensor_argument(
    name: str, images: int, shape: Sequence[int], place: TensorPlace, dtype: StoredType = "float32"
) -> Tensor:
    """Declares the parameter of a tensor of `images` images of `shape` (height, width, channels)."""
    height, width, channels = shape
    size = (images - 1) * place.stride + (height * width - 1) * place.pitch + channels
    return Tensor(T.arg(name, T.buffer((size,), dtype)), height, width, channels, place)


def shared_array(size: int, dtype: StoredType = "float32") -> Any:
    """An array that the threads of a block share."""
    return T.sblock_alloc_buffer((size,), dtype, scope=SHARED)


def registers(size: int, dtype: StoredType = "float32") -> Any:
    """An array of one thread's, all of whose indices are constants in the end."""
    return T.sblock_alloc_buffer((size,), dtype, scope="local")


def type_of(buffer: Any) -> StoredType:
    """Of a buffer's elements."""
    return "float16" if str(buffer.dtype) == "float16" else "float32"


def widest(buffer: Any) -> int:
    """Elements of a buffer in an access of 128 bits."""
    return QUAD if type_of(buffer) == "float32" else OCTET


def vector(count: int, body: Callable[[Expr], None]) -> None:
    """`count` elements at once."""
    if count == 1:
        body(0)
        return
    with T.vectorized(0, count) as lane:
        body(lane)


def store_if(conditions: Sequence[Expr], body: Callable[[], None]) -> None:
    """The body where all conditions hold; those that are known to hold cost nothing."""
    condition = all_of(conditions)
    if isinstance(condition, bool):
        body()
        return
    with T.If(condition), T.Then():
        body()


def all_of(conditions: Sequence[Expr]) -> Expr:
    """The conjunction; True where there are none."""
    whole: Expr = True
    for condition in conditions:
        if isinstance(condition, bool) and condition:
            continue
        whole = condition if isinstance(whole, bool) else tirx.all(whole, condition)
    return whole


def guarded(conditions: Sequence[Expr], value: Expr) -> Expr:
    """The value where all conditions hold, else 0; what it reads is not read there."""
    condition = all_of(conditions)
    return value if isinstance(condition, bool) else T.if_then_else(condition, value, tirx.const(0, str(value.ty)))


@dataclass(frozen=True)
class Transfer:
    """`rows` x `quads` accesses of `lanes` elements from global to shared memory, which the threads of a block share
    out: of (row, quad, lane) the `value`, and its `place` in the `target`. Where the rows do not lie an odd number of
    accesses apart they are made `in_order`, one behind the other."""

    target: Any
    rows: int
    quads: int
    lanes: int
    value: Callable[[Expr, Expr, Expr], Expr]
    place: Callable[[Expr, Expr, Expr], Expr]
    in_order: bool = False

    def held(self, threads: int) -> int:
        """Elements of it that a thread moves."""
        return -(-self.rows * self.quads // threads) * self.lanes


def window_transfer(
    window: Any, size: tuple[int, int], pitches: tuple[int, int], source: Tensor, image: Expr, origin: Sequence[Expr],
    channels: tuple[Expr, int], end: Expr = None, shuffle: int = 1, apart: int = 1, in_order: bool = False,
) -> Transfer:  # fmt: skip
    """A window of `size` (rows, columns) of a tensor from `origin` (row, column) on, and of its channels `count` from
    the first on; zeros outside of the picture and from the channel `end` on, or behind the last. `pitches` are those
    from row to row and from pixel to pixel in shared memory, `channels` is (first, count): of the channels in the order
    of a `shuffle` of so many groups, whose neighbours do not lie side by side. In shared memory every `apart`th row
    follows one another: of two, the odd ones behind all even ones."""
    (first, count), lanes = channels, source.place.lanes
    if count % lanes or source.buffer.dtype != window.dtype or shuffle > 1:
        lanes = 1
    (row, column), together = origin, -(-size[0] // apart)

    def value(pixel: Expr, quad: Expr, lane: Expr) -> Expr:
        line, x = pixel // size[1], column + pixel % size[1]
        y = row + (line % together * apart + line // together if apart > 1 else line)
        channel = first + quad * lanes
        inside = _inside(y, row, size[0], source.height) + _inside(x, column, size[1], source.width)
        if not (isinstance(first, int) and first + count <= source.channels):
            inside.append(channel < (source.channels if end is None else end))
        return guarded(inside, source.buffer[source.at(image, y, x, source.shuffled(channel + lane, shuffle))])

    def place(pixel: Expr, quad: Expr, lane: Expr) -> Expr:
        return window_place(pixel, size[1], pitches) + quad * lanes + lane

    return Transfer(window, size[0] * size[1], count // lanes, lanes, value, place, in_order)


def window_place(pixel: Expr, columns: int, pitches: tuple[int, int]) -> Expr:
    """Where in shared memory a pixel of a window of so many columns begins."""
    row, apart = pitches
    if row == columns * apart:
        return pixel * apart
    return pixel // columns * row + pixel % columns * apart


def matrix_transfer(target: Any, pitch: int, source: Any, start: Expr, shape: tuple[int, int]) -> Transfer:
    """Rows and columns, whole accesses of 128 bits, that follow one another in the source; `pitch` apart in the
    target."""
    (rows, columns), lanes = shape, widest(source)
    assert columns % lanes == 0 and target.dtype == source.dtype

    def value(row: Expr, quad: Expr, lane: Expr) -> Expr:
        from_row = row * columns if rows > 1 else 0
        return source[start + from_row + quad * lanes + lane]

    def place(row: Expr, quad: Expr, lane: Expr) -> Expr:
        to_row = row * pitch if rows > 1 else 0
        return to_row + quad * lanes + lane

    return Transfer(target, rows, columns // lanes, lanes, value, place)


def run_transfer(target: Any, source: Any, start: Expr, size: int) -> Transfer:
    """A run of elements, whole accesses of 128 bits."""
    return matrix_transfer(target, size, source, start, (1, size))


@dataclass(frozen=True)
class Part:
    """Of what is done with a chunk: what it needs from memory, and what it computes then."""

    transfers: Callable[[Expr], Sequence[Transfer]]
    compute: Callable[[Expr], None]


class BlockWriter:
    """Writes pieces of a block's work and knows afterwards how copies are bound to its threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.copies: list[tuple[str, int]] = []

    def move(self, transfer: Transfer) -> None:
        """All of it at once."""

        def write(row: Expr, quad: Expr, lane: Expr) -> None:
            store(transfer.target, transfer.value(row, quad, lane), [transfer.place(row, quad, lane)])

        self.copy(transfer.target, transfer.rows, transfer.quads, transfer.lanes, write, transfer.in_order)

    def fetch(self, transfer: Transfer, held: Any, thread: Expr) -> None:
        """Only its way from global memory into registers of the threads; nobody waits for it yet."""

        def write(row: Expr, quad: Expr, at: Expr) -> None:
            vector(transfer.lanes, lambda v: T.buffer_store(held, transfer.value(row, quad, v), [at + v]))

        self._each(transfer, thread, write)

    def keep(self, transfer: Transfer, held: Any, thread: Expr) -> None:
        """The rest of its way, from these registers into shared memory."""

        def write(row: Expr, quad: Expr, at: Expr) -> None:
            vector(
                transfer.lanes,
                lambda v: T.buffer_store(transfer.target, held[at + v], [transfer.place(row, quad, v)]),
            )

        self._each(transfer, thread, write)

    def _each(self, transfer: Transfer, thread: Expr, write: Callable[[Expr, Expr, Expr], None]) -> None:
        """A thread's own accesses, with the first of its registers for each."""
        count = transfer.rows * transfer.quads
        for number in range(-(-count // self.threads)):
            item = thread + number * self.threads
            whole = (number + 1) * self.threads <= count
            row, quad = item // transfer.quads, item % transfer.quads
            store_if([whole or item < count], partial(write, row, quad, number * transfer.lanes))

    def steps(
        self, count: int, ahead: bool, thread: Expr, number: Callable[[Expr], Expr], parts: Sequence[Part],
        first: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`first`, then `count` times all parts, of chunk `number(step)`. With `ahead` what the next step needs is on
        its way, into registers, while one is computed."""
        if not ahead:
            first()
            with T.serial(0, count) as step, T.sblock("chunk"):
                chunk = number(T.axis.opaque(count, step) if count > 1 else 0)
                for part in parts:
                    for transfer in part.transfers(chunk):
                        self.move(transfer)
                    part.compute(chunk)
            return
        held = [[registers(each.held(self.threads)) for each in part.transfers(0)] for part in parts]

        def fetch(part: Part, values: Sequence[Any], chunk: Expr) -> None:
            for transfer, array in zip(part.transfers(chunk), values, strict=True):
                self.fetch(transfer, array, thread)

        for part, values in zip(parts, held, strict=True):
            fetch(part, values, number(0))
        first()
        with T.serial(0, count) as step, T.sblock("chunk"):
            step = T.axis.opaque(count, step)
            for part, values in zip(parts, held, strict=True):
                for transfer, array in zip(part.transfers(number(step)), values, strict=True):
                    self.keep(transfer, array, thread)
                store_if([step + 1 < count], partial(fetch, part, values, number(step + 1)))
                part.compute(number(step))

    def copy(
        self, target: Any, rows: int, quads: int, lanes: int, move: Callable[[Expr, Expr, Expr], None],
        in_order: bool = False,
    ) -> None:  # fmt: skip
        """`rows` x `quads` accesses of `lanes` elements, shared out among all threads; `move` writes one element of
        (row, quad, lane) to the target."""
        name = f"copy{len(self.copies)}"
        down_rows = lanes == OCTET == widest(target) and not in_order
        across = _octets_across(rows, quads, self.threads) if down_rows else 0
        if across:
            # A thread keeps its column and its row among `down`: its addresses are one, and constants.
            down = self.threads // across
            sizes = (-(-rows // down), quads // across, down // PHASE, across, PHASE, lanes)
            with T.grid(*sizes) as (i, j, high, side, low, k), T.sblock(name):
                if rows % down:
                    T.where(i * down + high * PHASE + low < rows)
                i, j, high, side, low, lane = T.axis.remap("SSSSSS", [i, j, high, side, low, k])
                move(i * down + high * PHASE + low, j * across + side, lane)
            self.copies.append((name, 4))
            return
        with T.grid(rows, quads, lanes) as (i, j, k), T.sblock(name):
            row, quad, lane = T.axis.remap("SSS", [i, j, k])
            move(row, quad, lane)
        self.copies.append((name, 3))

    def copy_window(
        self, window: Any, size: tuple[int, int], pitches: tuple[int, int], source: Tensor, image: Expr,
        origin: Sequence[Expr], channels: tuple[Expr, int], shuffle: int = 1, apart: int = 1, in_order: bool = False,
    ) -> None:  # fmt: skip
        """A window at once, `pitches` from row to row and from pixel to pixel; as `window_transfer`."""
        self.move(
            window_transfer(window, size, pitches, source, image, origin, channels, None, shuffle, apart, in_order)
        )

    def copy_run(self, target: Any, source: Any, start: Expr, size: int) -> None:
        """A run at once."""
        self.move(run_transfer(target, source, start, size))

    def copy_matrix(self, target: Any, pitch: int, source: Any, start: Expr, shape: tuple[int, int]) -> None:
        """A matrix at once; as `matrix_transfer`."""
        self.move(matrix_transfer(target, pitch, source, start, shape))

    @contextmanager
    def shared_out(self, items: int, thread: Expr) -> Iterator[Expr]:
        """A loop over items, each of which one thread takes."""
        with T.serial(0, -(-items // self.threads)) as step:
            item = step * self.threads + thread
            if items % self.threads == 0:
                yield item
                return
            with T.If(item < items), T.Then():
                yield item

    def schedule(self, sch: Schedule) -> None:
        """Binds the grid, the threads and every copy."""
        for loop, axis in zip(sch.get_loops(sch.get_sblock("block")), GRID, strict=True):
            sch.bind(loop, axis)
        for name, loops in self.copies:
            *outer, lane = sch.get_loops(sch.get_sblock(name))[-loops:]
            threads = sch.fuse(*outer)
            if loops == 3:
                _, threads = sch.split(threads, [None, self.threads])
            sch.bind(threads, "threadIdx.x")
            sch.vectorize(lane)


def _octets_across(rows: int, octets: int, threads: int) -> int:
    """How many accesses of eight float16 numbers in a row of shared memory stand side by side where the threads of a
    block go through it together, eight neighbours down eight rows: these lie an odd number of accesses apart
    (`half_pitch`), so that they meet in no bank, as two rows with padding between them would where one is written
    behind the other. Two or more, so that a warp reads whole sectors. 0 where that takes more rounds than one access
    behind the other."""
    rounds = {}
    for across in (2, 4, 8, 16):
        if octets % across == 0 and threads % (across * PHASE) == 0:
            rounds[across] = -(-rows * across // threads) * (octets // across)
    least = min(rounds, key=lambda across: rounds[across], default=0)
    return least if least and rounds[least] <= -(-rows * octets // threads) else 0


def _inside(position: Expr, origin: Expr, size: int, whole: int) -> list[Expr]:
    """What has to be asked of a position of a window; nothing where the whole axis is in it."""
    if isinstance(origin, int) and origin >= 0 and origin + size <= whole:
        return []
    return [position >= 0, position < whole]


@dataclass(frozen=True)
class ThreadPlace:
    """A thread's place in a product."""

    tiles: ThreadTiles
    thread: Expr

    @property
    def across(self) -> Expr:
        """Along the channels."""
        return self.thread % self.tiles.across

    @property
    def down(self) -> Expr:
        """Along the pixels."""
        row = self.thread // self.tiles.across
        return row % self.tiles.down if self.tiles.split > 1 else row

    @property
    def part(self) -> Expr:
        """Of the depth."""
        return self.thread // (self.tiles.across * self.tiles.down) if self.tiles.split > 1 else 0

    def pixel(self, number: Expr) -> Expr:
        """Of the block's pixels, the thread's own `number`th: neighbours in a warp read neighbouring pixels."""
        return number * self.tiles.down + self.down if self.tiles.down > 1 else number

    def quad(self, number: Expr) -> Expr:
        """The first of the thread's `number`th four channels."""
        return (number * self.tiles.across + self.across) * QUAD


def zero(sums: Any, tiles: ThreadTiles) -> None:
    """Zeros in all sums of a thread."""
    with T.unroll(0, tiles.pixels * tiles.channels) as index:
        T.buffer_store(sums, T.float32(0), [index])


def multiply(
    sums: Any,
    place: ThreadPlace,
    depth: int,
    pixel: Callable[[Expr], Expr],
    weight: Callable[[Expr, Expr], Expr],
    values: Any,
    weights: Any,
) -> None:
    """Adds the products over a depth, a multiple of four times `split`: `pixel(i)` is where in `values` the thread's
    `i`th pixel begins, `weight(k, n)` where in `weights` the weight of depth k and channel n of the block lies."""
    tiles = place.tiles
    share = depth // tiles.split
    assert share % QUAD == 0
    quads = tiles.channels // QUAD
    with T.serial(0, share // QUAD) as step, T.sblock("multiply"):
        four, row = registers(tiles.pixels * QUAD), registers(tiles.channels)
        first = place.part * share + step * QUAD
        with T.unroll(0, tiles.pixels) as i:
            start = pixel(i) + first
            vector(QUAD, lambda v: T.buffer_store(four, values[start + v], [i * QUAD + v]))
        with T.unroll(0, QUAD) as k:
            with T.unroll(0, quads) as j:
                start = weight(first + k, place.quad(j))
                vector(QUAD, lambda v: T.buffer_store(row, weights[start + v], [j * QUAD + v]))
            with T.unroll(0, tiles.pixels) as i, T.unroll(0, tiles.channels) as j:
                at = i * tiles.channels + j
                T.buffer_store(sums, sums[at] + four[i * QUAD + k] * row[j], [at])


def loaded(buffer: Any, start: Expr, lanes: int) -> Any:
    """`lanes` elements in registers, by as few accesses as there can be."""
    values, most = registers(lanes, type_of(buffer)), min(lanes, widest(buffer))
    with _accesses(lanes, most) as first:
        vector(most, lambda v: T.buffer_store(values, buffer[start + first + v], [first + v]))
    return values


def stored(buffer: Any, start: Expr, lanes: int, value: Callable[[Expr], Expr], clip: str = "") -> None:
    """`lanes` elements computed one by one and stored by as few accesses as there can be: TVM writes no vector's
    comparison as CUDA. `clip`, as `clip_of` names it, is for an even number of float16."""
    values, most = registers(lanes, type_of(buffer)), min(lanes, widest(buffer))
    pairs = type_of(buffer) == "float16" and lanes % 2 == 0
    assert pairs or not clip
    made = registers(lanes) if pairs else values
    with T.unroll(0, lanes) as lane:
        store(made, value(lane), [lane])
    if pairs:
        round_halves(values, 0, made, 0, lanes, clip)
    with _accesses(lanes, most) as first:
        vector(most, lambda v: T.buffer_store(buffer, values[first + v], [start + first + v]))


@contextmanager
def _accesses(count: int, most: int) -> Iterator[Expr]:
    """The first element of every access."""
    if count == most:
        yield 0
        return
    with T.unroll(0, count // most) as number:
        yield number * most


ALONE = "mncc.alone"
"""The attribute of functions whose threads need more registers than two blocks of a multiprocessor have."""
FEW_SUMS = 48
"""Of a thread; ptxas finds registers for them and what passes through where two blocks share a multiprocessor."""


def kernel_function(make: Callable[[], Any], symbol: str, sums: int = 0) -> tirx.PrimFunc:
    """The scheduled function of a writer: an object that declares parameters where it is made, and has `write` and
    `schedule`. `sums` are those that a thread keeps beside others."""
    function = scheduled_function(make, symbol)[0]
    return function.with_attr(ALONE, True) if sums > FEW_SUMS else function
