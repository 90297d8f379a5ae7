"""Products of float16 on tensor cores: a warp holds matrices of 16 x 16 together, whose sums are float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

from tvm.backend.cuda.op import cuda_func_call
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_target import WARP
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, WarpTiles
from mncc.kernels.gpu_warp_product import STAGED_PITCH
from mncc.schedules.cuda.writer import Expr, loaded, registers

FRAGMENTS = "mncc.fragments"
"""The attribute of functions that work with fragments."""
SHAPE = (FRAGMENT, FRAGMENT, FRAGMENT)
_HALF2 = files("mncc.schedules.cuda").joinpath("half2.cuh").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Matrix:
    """Rows in shared memory, `pitch` apart; fragments of it begin at rows and columns that are multiples of 16."""

    buffer: Any
    pitch: int
    first_row: Expr = 0

    def at(self, row: Expr, column: Expr) -> Any:
        """The pointer to an element."""
        return self.buffer.access_ptr("r", offset=(self.first_row + row) * self.pitch + column)


class WarpSums:
    """The sums of a block's product, and where in it a thread's warp is."""

    def __init__(self, tiles: WarpTiles, thread: Expr) -> None:
        self.tiles = tiles
        self.warp, self.lane = thread // WARP, thread % WARP
        self.rows, self.columns = tiles.fragments
        size = FRAGMENT * FRAGMENT
        self.sums = T.sblock_alloc_buffer((self.rows * self.columns * size,), "float32", scope="wmma.accumulator")
        self.left = T.sblock_alloc_buffer((self.rows * size,), "float16", scope="wmma.matrix_a")
        self.right = T.sblock_alloc_buffer((self.columns * size,), "float16", scope="wmma.matrix_b")

    @property
    def row(self) -> Expr:
        """The warp's first row."""
        return self.warp // self.tiles.across * self.tiles.pixels if self.tiles.down > 1 else 0

    @property
    def column(self) -> Expr:
        """The warp's first column."""
        return self.warp % self.tiles.across * self.tiles.channels if self.tiles.across > 1 else 0

    def zero(self) -> None:
        """Zeros in all sums."""
        with T.unroll(0, self.rows * self.columns) as number:
            T.evaluate(T.tvm_fill_fragment(self.sums.data, *SHAPE, number, T.float32(0)))

    def multiply(self, left: Matrix, right: Matrix, depth: int) -> None:
        """Adds the product of two matrices in shared memory over a depth, a multiple of 16."""
        with T.serial(0, depth // FRAGMENT) as step, T.sblock("multiply"):
            opaque()
            k = step * FRAGMENT
            with T.unroll(0, self.rows) as i:
                at = left.at(self.row + i * FRAGMENT, k)
                T.evaluate(T.tvm_load_matrix_sync(self.left.data, *SHAPE, i, at, left.pitch, "row_major"))
            with T.unroll(0, self.columns) as j:
                at = right.at(k, self.column + j * FRAGMENT)
                T.evaluate(T.tvm_load_matrix_sync(self.right.data, *SHAPE, j, at, right.pitch, "row_major"))
            with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
                number = i * self.columns + j
                sums = self.sums.data
                T.evaluate(T.tvm_mma_sync(sums, number, self.left.data, i, self.right.data, j, sums, number))

    def store(self, target: Any, pitch: int) -> None:
        """All sums of the block in shared memory."""
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
            begin = (self.row + i * FRAGMENT) * pitch + self.column + j * FRAGMENT
            self._store(i * self.columns + j, target.access_ptr("w", offset=begin), pitch)

    def each(self, staged: Any, use: Callable[[Expr, Expr, Expr, Any], None]) -> None:
        """Fragment after fragment through shared memory: `use(number, row, column, values)` with eight sums of a row of
        the block's product from `column` on, in registers."""
        at = self.warp * (FRAGMENT * STAGED_PITCH)
        row, column = self.lane % FRAGMENT, self.lane // FRAGMENT * OCTET
        # No loop of TVM's, which would take the shared memory into it, and unrolled have it many times.
        for i, j in product(range(self.rows), range(self.columns)):
            with T.sblock("fragment"):
                opaque()
                number = i * self.columns + j
                # A warp's memory is its own, so that its lanes need not wait for other warps: TVM, which would put a
                # barrier of the block around every access, is not told that this writes.
                T.evaluate(T.call_extern("int32", "__syncwarp"))
                self._store(number, T.address_of(staged[at]), STAGED_PITCH)
                T.evaluate(T.call_extern("int32", "__syncwarp"))
                values = loaded(staged, at + row * STAGED_PITCH + column, OCTET)
                use(number, self.row + i * FRAGMENT + row, self.column + j * FRAGMENT + column, values)

    def _store(self, number: Expr, pointer: Any, pitch: int) -> None:
        T.evaluate(T.tvm_store_matrix_sync(self.sums.data, *SHAPE, number, pointer, pitch, "row_major"))

    def unloaded(self, staged: Any) -> Any:
        """All sums of a thread in registers, eight of a fragment after the other."""
        sums = registers(self.tiles.kept)

        def keep(number: Expr, row: Expr, column: Expr, values: Any) -> None:
            with T.unroll(0, OCTET) as v:
                T.buffer_store(sums, values[v], [number * OCTET + v])

        self.each(staged, keep)
        return sums

    @contextmanager
    def octets(self) -> Iterator[tuple[Expr, Expr, Expr]]:
        """A loop over the sums in a thread's registers, eight at once: the number of the first, its row and its
        column."""
        row, column = self.row + self.lane % FRAGMENT, self.column + self.lane // FRAGMENT * OCTET
        with T.unroll(0, self.rows) as i, T.unroll(0, self.columns) as j:
            yield (i * self.columns + j) * OCTET, row + i * FRAGMENT, column + j * FRAGMENT


def opaque(*written: Any) -> None:
    """Of a block that works with fragments, which the scheduler cannot look into: it is left where it is, and writes
    those buffers."""
    T.reads([])
    T.writes([buffer[0 : buffer.shape[0]] for buffer in written])


def multiply_halves(sums: Any, at: Expr, values: Any, value: Expr, taps: Any, tap: Expr) -> None:
    """Adds to eight float16 sums in registers, from `at` on, the products of eight values and taps in registers."""
    with T.unroll(0, OCTET // 2) as pair:
        operands = ((sums, at), (values, value), (taps, tap))
        pointers = (T.address_of(buffer[start + 2 * pair]) for buffer, start in operands)
        T.evaluate(cuda_func_call("half2_multiply_add", *pointers, source_code=_HALF2))
