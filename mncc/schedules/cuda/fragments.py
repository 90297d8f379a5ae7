"""Products of float16 on tensor cores: a warp holds matrices of 16 x 16 together, whose sums are float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_target import WARP
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, QUAD, WarpTiles, steps_at_once
from mncc.schedules.cuda.halves import call_cuda
from mncc.schedules.cuda.writer import Expr, registers

FRAGMENTS = "mncc.fragments"
"""The attribute of functions that work with fragments."""
OWN = 8
"""Sums of a fragment that a lane has, in its registers."""
PAIRS = 4
"""Of float16 numbers of a fragment that a lane has."""


@dataclass(frozen=True)
class Matrix:
    """Rows in shared memory, `pitch` apart; fragments of it begin at rows and columns that are multiples of 16."""

    buffer: Any
    pitch: int
    first_row: Expr = 0

    def at(self, place: Expr, row: Expr, column: Expr) -> Any:
        """The pointer to the element that lies so many rows and columns behind a place."""
        return self.buffer.access_ptr("r", offset=place + (self.first_row + row) * self.pitch + column)


class WarpSums:
    """The sums of a block's product, and where in it a thread's warp is."""

    def __init__(self, tiles: WarpTiles, thread: Expr, reversed_rows: bool = False) -> None:
        """With `reversed_rows`, of each eight rows of the fragments each is that of its number's three bits in
        reverse: where rows lie an odd number of 128 bits apart, the lanes that a wide store serves at once, of two or
        four neighbouring rows of a fragment, then meet in no bank."""
        self.tiles, self.reversed_rows = tiles, reversed_rows
        self.thread, self.warp, self.lane = thread, thread // WARP, thread % WARP
        self.rows, self.columns = tiles.fragments
        self.sums = registers(self.rows * self.columns * OWN)
        self.left, self.right = (
            T.sblock_alloc_buffer((count * PAIRS,), "uint32", scope="local") for count in tiles.fragments
        )
        self.places: Any = None

    @property
    def row(self) -> Expr:
        """The warp's first row."""
        warp = self.warp % (self.tiles.across * self.tiles.down) if self.tiles.split > 1 else self.warp
        return warp // self.tiles.across * self.tiles.pixels if self.tiles.down > 1 else 0

    @property
    def column(self) -> Expr:
        """The warp's first column."""
        return self.warp % self.tiles.across * self.tiles.channels if self.tiles.across > 1 else 0

    @property
    def part(self) -> Expr:
        """The warp's part of the depth."""
        return self.warp // (self.tiles.across * self.tiles.down) if self.tiles.split > 1 else 0

    def zero(self) -> None:
        """Zeros in all sums."""
        with T.unroll(0, self.rows * self.columns * OWN) as number:
            T.buffer_store(self.sums, T.float32(0), [number])
        self._operands()

    def begin(self, biases: Any) -> None:
        """In all sums their biases, in the registers that `biases` filled."""
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns * OWN) as number:
            T.buffer_store(self.sums, biases[number], [i * self.columns * OWN + number])

    def biases(self, source: Any) -> Any:
        """The biases of a row of a warp's fragments in registers, of those of the block's product in shared memory."""
        own = registers(self.columns * OWN)
        T.buffer_store(own, T.float32(0), [self.columns * OWN - 1])
        self._operands()
        for j in range(self.columns * 2):
            at = source.access_ptr("r", offset=self.column + j * OCTET + self.lane % QUAD * 2)
            call_cuda("fragment_begin", T.address_of(own[j * QUAD]), at)
        return own

    def _operands(self) -> None:
        # TVM cuts arrays to those elements that it sees: of the operands only functions see all.
        for operand in (self.left, self.right):
            T.buffer_store(operand, T.uint32(0), [operand.shape[0] - 1])

    def hold_places(self, left: Matrix, right: Matrix) -> None:
        """Puts into registers where a lane's first numbers of two matrices lie, for a loop that goes through the
        rows of the left one."""
        self.places = places([self._left_place(left), self._right_place(right)])

    def _left_place(self, left: Matrix) -> Expr:
        # Every lane names eight numbers of a row.
        if self.places is not None:
            return self.places[0]
        own = self.lane % FRAGMENT
        if self.reversed_rows:
            own = self.lane // OCTET % 2 * OCTET + _reversed(self.lane % OCTET)
        return (self.row + own) * left.pitch + self.lane // FRAGMENT * OCTET

    def _right_place(self, right: Matrix) -> Expr:
        if self.places is not None:
            return self.places[1]
        return self.lane % FRAGMENT * right.pitch + self.column + self.lane // FRAGMENT * OCTET

    def multiply(self, left: Matrix, right: Matrix, depth: int) -> None:
        """Adds the product of two matrices in shared memory over the warp's part of a depth, a multiple of 16."""
        steps = depth // FRAGMENT // self.tiles.split
        at_once = steps_at_once(steps)
        rounds = T.serial(0, steps // at_once, unroll=False if steps > at_once else None)
        with rounds as several, T.unroll(0, at_once) as one, T.sblock("multiply"):
            opaque()
            k = (self.part * steps + several * at_once + one) * FRAGMENT
            self._load_left(left, k)
            self._load_right(right, k, 0)
            self._multiply(0)

    def hold(self, right: Matrix, depth: int) -> None:
        """Loads the right operand over all of a small depth, for `multiply_held`."""
        self.right = T.sblock_alloc_buffer((depth // FRAGMENT * self.columns * PAIRS,), "uint32", scope="local")
        self._operands()
        for k in range(0, depth, FRAGMENT):
            self._load_right(right, k, k // FRAGMENT * self.columns)

    def multiply_held(self, left: Matrix, depth: int) -> None:
        """As `multiply`, with the right operand that is held."""
        for k in range(0, depth, FRAGMENT):
            self._load_left(left, k)
            self._multiply(k // FRAGMENT * self.columns)

    def _load_left(self, left: Matrix, k: Expr) -> None:
        with T.unroll(0, self.rows) as i:
            at = left.at(self._left_place(left), i * FRAGMENT, k)
            call_cuda("fragment_load", T.address_of(self.left[i * PAIRS]), at)

    def _load_right(self, right: Matrix, k: Expr, first: int) -> None:
        with T.unroll(0, self.columns) as j:
            at = right.at(self._right_place(right), k, j * FRAGMENT)
            call_cuda("fragment_load_transposed", T.address_of(self.right[(first + j) * PAIRS]), at)

    def _multiply(self, first: int) -> None:
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
            right = self.right, (first + j) * PAIRS
            operands = (self.sums, (i * self.columns + j) * OWN), (self.left, i * PAIRS), right
            call_cuda("fragment_multiply", *(T.address_of(buffer[at]) for buffer, at in operands))

    def store(self, target: Any, pitch: int) -> None:
        """All sums of the block in shared memory, those of one part of the depth behind the other, where `met_place`
        says."""
        pair, width = self.lane % QUAD * 2, self.tiles.width
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
            row = self.part * self.tiles.height + self.row + i * FRAGMENT + self.lane // QUAD
            columns = [self.column + j * FRAGMENT + half * OCTET for half in (0, 1)]
            places = [met_place(row, column, pair // QUAD, width, pitch) + pair % QUAD for column in columns]
            halves = [target.access_ptr("w", offset=place) for place in places]
            self._store(i * self.columns + j, halves, OCTET * pitch)

    def each(self, staged: Any, use: Callable[[Expr, Expr, Expr, Any], None]) -> None:
        """Fragment after fragment through shared memory: `use(number, row, column, values)` with eight sums of a row of
        the block's product from `column` on, in registers."""
        at = self.warp * FRAGMENT**2
        row, octet = self.lane % FRAGMENT, self.lane // FRAGMENT
        # No loop of TVM's, which would take the shared memory into it, and unrolled have it many times.
        for i, j in product(range(self.rows), range(self.columns)):
            with T.sblock("fragment"):
                opaque()
                number = i * self.columns + j
                # A warp's memory is its own, so that its lanes need not wait for other warps: TVM, which would put a
                # barrier of the block around every access, is not told that this writes.
                T.evaluate(T.call_extern("int32", "__syncwarp"))
                first, pair = self.lane // QUAD, self.lane % QUAD * 2
                places = [at + _staged(first, pair // QUAD + half * 2) + pair % QUAD for half in (0, 1)]
                self._store(number, [T.address_of(staged[place]) for place in places], OCTET * FRAGMENT)
                T.evaluate(T.call_extern("int32", "__syncwarp"))
                values = registers(OCTET)
                with T.unroll(0, OCTET // QUAD) as quad, T.vectorized(0, QUAD) as v:
                    place = at + _staged(row, octet * 2 + quad) + v
                    T.buffer_store(values, staged[place], [quad * QUAD + v])
                use(number, self.row + i * FRAGMENT + row, self.column + j * FRAGMENT + octet * OCTET, values)

    def _store(self, number: Expr, halves: list[Any], below: int) -> None:
        call_cuda("fragment_store", *halves, below, T.address_of(self.sums[number * OWN]))

    def lines(self, halves: Sequence[int]) -> Iterator[tuple[int, list[tuple[list[int], int]]]]:
        """The rows of the block's product of which a lane has sums, behind `lane_row`, each with those that are of so
        many `halves` of fragments and lie side by side (`lane_order`): the numbers of the first of each two in `sums`,
        and the first column behind `lane_column`."""
        for i, below in product(range(self.rows), (0, 1)):
            groups, j = [], 0
            for count in halves:
                first = i * self.columns * OWN + j * QUAD + below * 2
                groups.append(([first + half * QUAD for half in range(count)], j * OCTET))
                j += count
            yield i * FRAGMENT + below * OCTET, groups

    @property
    def lane_row(self) -> Expr:
        """The first row of which a lane has sums."""
        row = self.lane // QUAD
        return self.row + (_reversed(row) if self.reversed_rows else row)

    def lane_column(self, halves: int) -> Expr:
        """The first column of a lane's sums, of so many halves of fragments."""
        return self.column + self.lane % QUAD * halves * 2

    def unloaded(self, staged: Any) -> Any:
        """All sums of a thread in registers, eight of a fragment after the other."""
        sums = registers(self.tiles.kept)

        def keep(number: Expr, row: Expr, column: Expr, values: Any) -> None:
            with T.unroll(0, OCTET) as v:
                T.buffer_store(sums, values[v], [number * OCTET + v])

        self.each(staged, keep)
        return sums

    def joined(self, met: Any, pitch: int) -> Any:
        """The sums of a thread in registers, where the parts of the depth have met in shared memory."""
        self.store(met, pitch)
        sums, apart = registers(self.tiles.kept), self.tiles.height * pitch
        with T.unroll(0, self.tiles.kept) as v:
            T.buffer_store(sums, T.float32(0), [v])
        with self.octets() as (number, row, column), T.serial(0, self.tiles.split) as part, T.sblock("part"):
            values = registers(OCTET)
            with T.unroll(0, OCTET // QUAD) as quad, T.vectorized(0, QUAD) as v:
                place = part * apart + met_place(row, column, quad, self.tiles.width, pitch) + v
                T.buffer_store(values, met[place], [quad * QUAD + v])
            with T.unroll(0, OCTET) as v:
                T.buffer_store(sums, sums[number + v] + values[v], [number + v])
        return sums

    @contextmanager
    def octets(self) -> Iterator[tuple[Expr, Expr, Expr]]:
        """A loop over the sums in a thread's registers, eight at once: the number of the first, its row and its
        column."""
        if self.tiles.split > 1:
            with T.unroll(0, self.tiles.kept // OCTET) as each:
                octet, across = each * self.tiles.threads + self.thread, self.tiles.width // OCTET
                place = each * OCTET, octet // across, octet % across * OCTET
                if self.tiles.height * across % self.tiles.threads == 0:
                    yield place
                    return
                with T.If(octet < self.tiles.height * across), T.Then():
                    yield place
            return
        row, column = self.row + self.lane % FRAGMENT, self.column + self.lane // FRAGMENT * OCTET
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
            yield (i * self.columns + j) * OCTET, row + i * FRAGMENT, column + j * FRAGMENT


def met_place(row: Expr, column: Expr, quad: Expr, width: int, pitch: int) -> Expr:
    """Where the first or second four of eight sums from a column on lie, of rows of `width` that have met: exchanged
    with each other in every other four of these eights, so that those that eight threads read at once meet in no
    bank."""
    eight = row * (width // OCTET) + column // OCTET
    return row * pitch + column + T.bitwise_xor(quad, eight // 4 % 2) * QUAD


def _staged(row: Expr, quad: Expr) -> Expr:
    """Where four sums of a fragment lie on their way through shared memory. The four places of a row are exchanged with
    each other, otherwise in every other row, so that rows meet in no bank: neither the four in which half a warp writes
    two sums each, nor the eight in which a quarter reads four."""
    low, high = row // 2 % 2, row // 4 % 2
    return row * FRAGMENT + T.bitwise_xor(quad, low * 2 + high) * QUAD


def places(values: Sequence[Expr]) -> Any:
    """Places in memory, in registers."""
    held = T.sblock_alloc_buffer((len(values),), "int32", scope="local")
    for number, value in enumerate(values):
        T.buffer_store(held, value, [number])
    for number in range(len(values)):
        call_cuda("place_kept", T.address_of(held[number]))
    return held


def _reversed(row: Expr) -> Expr:
    """The number whose three bits are those of another in reverse."""
    return row % 2 * 4 + row // 2 % 2 * 2 + row // 4


def opaque(*written: Any) -> None:
    """Of a block that works with fragments, which the scheduler cannot look into: it is left where it is, and writes
    those buffers."""
    T.reads([])
    T.writes([buffer[0 : buffer.shape[0]] for buffer in written])
