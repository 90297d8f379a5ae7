"""What becomes of sums: slices of the depth meet, then bias, residual and activation, and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_join import Join
from mncc.kernels.gpu_tiles import OCTET, QUAD, WarpTiles
from mncc.network.ops import Activation
from mncc.schedules.cuda.halves import clip_of
from mncc.schedules.cuda.writer import SHARED, Expr, Tensor, ThreadPlace, loaded, store_if, stored, type_of, vector
from mncc.schedules.types import cast


class Meeting:
    """Where the slices of one part of an image leave their sums; the block that comes last adds them up."""

    def __init__(self, join: Join, images: int, stride: int) -> None:
        """Declares the parameters; `stride` is that of the memory for the sums of an image, in floats."""
        self.join, self.stride = join, stride
        floats = join.groups * join.slices * join.block_floats
        self.left = T.arg("shared", T.buffer(((images - 1) * stride + floats,), "float32"))
        self.counters = T.arg("counters", T.buffer((images * join.groups,), "uint32"))

    def declare(self, output: Tensor) -> None:
        """What a block of the grid is to the scheduler: one that writes. That it reads what others left is a matter of
        fences, which the scheduler knows nothing of."""
        T.reads([])
        T.writes([output.buffer[0 : output.buffer.shape[0]], self.left[0 : self.left.shape[0]]])

    @contextmanager
    def last(self, sums: Any, part: Expr, at: tuple[Expr, Expr], thread: Expr) -> Iterator[None]:
        """What only the last block of a group does, with the sums of all slices; `part` is the block's own, `at` is
        (image, group)."""
        join, (image, group) = self.join, at
        begin = image * self.stride + group * join.slices * join.block_floats + thread * QUAD
        quads, apart = join.sums.kept // QUAD, join.sums.threads * QUAD
        own = begin + part * join.block_floats
        with T.unroll(0, quads) as i:
            leave = partial(self._leave, sums, i * QUAD, own + i * apart)
            store_if([self._real(i, thread)], leave)
        count = T.sblock_alloc_buffer((1,), "uint32", scope=SHARED)
        seen = T.sblock_alloc_buffer((1,), "uint32", scope="local")
        # Everybody's sums are on their way before one thread counts the block.
        T.evaluate(T.call_extern("int32", "__threadfence"))
        T.evaluate(T.tvm_storage_sync("shared"))
        with T.If(thread == 0), T.Then():
            counter = T.address_of(self.counters[image * join.groups + group])
            # Counts up to the last slice, then begins at 0 again.
            T.buffer_store(count, T.call_extern("uint32", "atomicInc", counter, T.uint32(join.slices - 1)), [0])
        T.buffer_store(seen, count[0], [0])
        with T.If(seen[0] == T.uint32(join.slices - 1)), T.Then(), T.sblock("last"):
            T.evaluate(T.call_extern("int32", "__threadfence"))
            mine = T.sblock_alloc_buffer((quads * QUAD,), "float32", scope="local")
            with T.unroll(0, quads * QUAD) as i:
                T.buffer_store(mine, sums[i], [i])
                T.buffer_store(sums, T.float32(0), [i])
            with T.serial(0, join.slices) as each, T.sblock("slice"):
                each = T.axis.opaque(join.slices, each)
                with T.If(each == part):
                    with T.Then(), T.unroll(0, quads * QUAD) as i:
                        T.buffer_store(sums, sums[i] + mine[i], [i])
                    with T.Else(), T.unroll(0, quads) as i:
                        add = partial(self._add, sums, i * QUAD, begin + each * join.block_floats + i * apart)
                        store_if([self._real(i, thread)], add)
            yield

    def _real(self, quad: Expr, thread: Expr) -> Expr:
        """Whether the `quad`th of a thread's quads is of a pixel that is wanted."""
        join, sums = self.join, self.join.sums
        if isinstance(sums, WarpTiles) and sums.split > 1:
            return quad // 2 * sums.threads + thread < join.pixels * sums.width // OCTET
        if sums.height <= join.pixels:
            return True
        return ThreadPlace(sums, thread).pixel(quad // (sums.channels // QUAD)) < join.pixels

    def _leave(self, sums: Any, first: Expr, at: Expr) -> None:
        vector(QUAD, lambda v: T.buffer_store(self.left, sums[first + v], [at + v]))

    def _add(self, sums: Any, first: Expr, at: Expr) -> None:
        with T.sblock("other"):
            values = loaded(self.left, at, QUAD)
            with T.unroll(0, QUAD) as v:
                T.buffer_store(sums, sums[first + v] + values[v], [first + v])


@dataclass(frozen=True)
class Epilogue:
    """What becomes of a sum on its way out: `bias` (an array and where in it that of channel 0 lies) and a residual are
    added, and the activation is applied. `width` channels go together, and those before `end`, or all of the output,
    are written."""

    output: Tensor
    residual: Tensor | None
    residual_first: bool
    activation: Activation | None
    bias: tuple[Any, Expr] | None
    width: int = QUAD
    end: Expr = None

    def write(
        self, at: tuple[Expr, Expr, Expr, Expr], inside: Sequence[Expr], full: bool, value: Callable[[Expr], Expr]
    ) -> None:
        """`width` channels of a pixel from `at` (image, row, column, channel) on, where it is `inside`, unless `full`
        only those that the output has. `value(v)` is the sum of the `v`th of them."""
        lanes = min(tensor.place.lanes for tensor in (self.output, self.residual) if tensor is not None)

        def pieces() -> None:
            if lanes == self.width:
                self.piece(at, 0, lanes, full, value)
                return
            with T.unroll(0, self.width // lanes) as number:
                self.piece(at, number * lanes, lanes, full, value)

        store_if(inside, pieces)

    def piece(
        self, at: tuple[Expr, Expr, Expr, Expr], start: Expr, lanes: int, full: bool, value: Callable[[Expr], Expr]
    ) -> None:
        """Of these channels, `lanes` from `start` on."""
        image, row, column, channel = at
        first, last = channel + start, self.residual is None or self.residual_first
        pairs = type_of(self.output.buffer) == "float16" and lanes % 2 == 0
        clip = clip_of(self.activation) if pairs and last else None
        before = self.activation if clip is None else None

        def write() -> None:
            place = (image, row, column, first)
            with T.sblock("out"):
                added, bias = None, None
                if self.residual is not None:
                    added = loaded(self.residual.buffer, self.residual.at(*place), lanes)
                if self.bias is not None:
                    bias = loaded(self.bias[0], self.bias[1] + first, lanes)

                def total(v: Expr) -> Expr:
                    whole = value(start + v) if bias is None else value(start + v) + bias[v]
                    other = None if added is None else cast(added[v], "float32")
                    return finished(whole, other, before, self.residual_first)

                stored(self.output.buffer, self.output.at(*place), lanes, total, clip or "")

        store_if([full or first < (self.output.channels if self.end is None else self.end)], write)


def finished(value: Expr, residual: Expr | None, activation: Activation | None, residual_first: bool) -> Expr:
    """A sum with its residual and activation."""
    if residual is not None and residual_first:
        value = value + residual
    if activation is not None:
        value = activation.expression(value)
    return value + residual if residual is not None and not residual_first else value
