"""A planned fused GPU kernel of float16 -> TensorIR: chunks of channels pass through shared memory from stage to stage,
the products on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from mncc.kernels.chain import Stage
from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_join import join_of
from mncc.kernels.gpu_tiles import FRAGMENT, OCTET, WarpTiles, vector_lanes
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape, lane_halves, run_of
from mncc.schedules.cuda.epilogue import Epilogue, Meeting, finished
from mncc.schedules.cuda.fragments import FRAGMENTS, PAIRS, Matrix, WarpSums, opaque, places
from mncc.schedules.cuda.fused import begin, in_picture
from mncc.schedules.cuda.halves import call_cuda, clip_halves, clip_of, multiply_halves, round_halves
from mncc.schedules.cuda.warp_product import copy_unrolled
from mncc.schedules.cuda.writer import (
    BlockWriter,
    Expr,
    Tensor,
    TensorPlace,
    all_of,
    kernel_function,
    loaded,
    registers,
    shared_array,
    stored,
    tensor_argument,
    vector,
)
from mncc.schedules.types import cast

HELD = 32 * FRAGMENT * FRAGMENT // PAIRS
"""The most weights of a lead that a warp keeps in registers while it goes through pixels: 32 of a thread."""


def warp_fused_function(
    spec: WarpFused, tiles: FusedTiles, places: Sequence[TensorPlace], symbol: str
) -> tirx.PrimFunc:
    """The scheduled function; parameters (weights, biases, input, [residual], output). `places` are those of the
    tensors."""
    return kernel_function(lambda: _WarpFusedWriter(spec, tiles, places), symbol).with_attr(FRAGMENTS, True)


class _WarpFusedWriter:
    """Declares the parameters and writes the block."""

    def __init__(self, spec: WarpFused, tiles: FusedTiles, places: Sequence[TensorPlace]) -> None:
        self.spec, self.tiles, images = spec, tiles, spec.images
        self.shape, last = WarpFusedShape(spec, tiles), spec.last
        made = (last.height, last.width, last.channels)
        self.weights = T.arg("weights", T.buffer((2 * self.shape.biases,), "float16"))
        if self.shape.bias_floats:
            self.biases = T.arg(f"weight{self.shape.biases}", T.buffer((self.shape.bias_floats,), "float32"))
        whole = (spec.height, spec.width, spec.channels)
        self.input = tensor_argument("input", images, whole, places[0], spec.input_dtype)
        self.residual = None
        if spec.residual:
            self.residual = tensor_argument("residual", images, made, places[1], spec.residual_dtype)
        join = join_of(spec, tiles)
        self.meeting = Meeting(join, images, places[-2].stride) if join else None
        self.output = tensor_argument("output", images, made, places[-1], spec.output_dtype)
        self.block = BlockWriter(tiles.threads)
        whole_tiles = last.height % tiles.rows == 0 and last.width % tiles.cols == 0
        self.whole, self.lead, self.tail = whole_tiles, _warps(tiles.lead), _warps(tiles.tail)

    def schedule(self, sch: Any) -> None:
        """Schedules everything that was written."""
        self.block.schedule(sch)

    def write(self) -> None:
        """One block."""
        shape, tiles, spec = self.shape, self.tiles, self.spec
        chunks, columns, rows = shape.grid
        with T.grid(self.spec.images, rows * columns, chunks, tiles.threads) as indices, T.sblock("block"):
            self.image, tile, first, self.thread = T.axis.remap("SSSS", list(indices))
            if self.meeting:
                self.meeting.declare(self.output)
            else:
                opaque(self.output.buffer)
            self.row = tile // columns * tiles.rows if rows > 1 else 0
            self.column = tile % columns * tiles.cols if columns > 1 else 0
            self.declare()
            if self.tail:
                self.sums = WarpSums(self.tail, self.thread)
                self.sums.zero()
            if spec.lead:
                self.load(spec.lead)
            self.slice, self.panel = first % tiles.slices, first // tiles.slices
            with T.serial(0, shape.steps) as step, T.sblock("chunk"):
                opaque()
                step = T.axis.opaque(shape.steps, step) if shape.steps > 1 else 0
                self.chunk(self.slice * shape.steps + step if self.tail else first)
            if not self.tail:
                return
            kept = self.sums.unloaded(self.staged_sums)
            if self.meeting:
                group = self.panel * rows * columns + tile
                with self.meeting.last(kept, self.slice, (self.image, group), self.thread):
                    self.finish(self.tail, kept)
            else:
                self.finish(self.tail, kept)

    def declare(self) -> None:
        """The arrays that threads share."""
        shape = self.shape
        if self.lead:
            self.staged_biases = shared_array(shape.chunk_biases)
            self.window = shared_array(shape.window_halves, "float16")
            self.staged_lead = shared_array(shape.lead_halves, "float16")
        if self.tail:
            self.made = shared_array(shape.made_halves, "float16")
            self.staged_tail = shared_array(shape.staged_tail_halves, "float16")
            self.staged_sums = shared_array(shape.staged_floats)
        self.staged_taps = shared_array(shape.tap_halves, "float16")
        self.middle = shared_array(shape.middle_halves, "float16")
        self.most = shared_array(shape.most_halves, "float16") if shape.most_halves else None

    def load(self, lead: Stage) -> None:
        """The lead's input; where its window has several taps the picture first, so that each number is asked for
        once, and unrolled from there."""
        shape, at = self.shape, begin(self.middle_begin(), lead)
        source, image = self.input, self.image
        if shape.picture_halves:
            rows, columns = shape.window
            picture = shared_array(shape.picture_halves, "float16")
            self.block.copy_window(
                picture, (rows, columns), (columns * source.channels, source.channels), source, image, at,
                (0, source.channels),
            )  # fmt: skip
            # A picture of its own, without padding around it.
            place = TensorPlace(source.channels, 0, vector_lanes(OCTET, source.channels))
            source, at, image = Tensor(picture, rows, columns, source.channels, place), [0, 0], 0
        copy_unrolled(
            self.block, self.window, shape.input_pitch, source, image, lead, at, (shape.made_rows, shape.middle[1]),
            (0, shape.depth), shape.middle_pixels,
        )  # fmt: skip
        if self.most is not None:
            self.fill_most(lead)

    def fill_most(self, lead: Stage) -> None:
        """What no pixel of the lead is to be more than, for two channels: its activation's bound, or 0 outside of the
        picture."""
        most = T.float16(6) if clip_of(lead.activation) == "half2_relu6" else T.float16(float("inf"))
        with self.block.shared_out(self.shape.made_rows, self.thread) as pixel, T.sblock("most"):
            inside = in_picture(self.shape, self.middle_begin(), pixel)
            vector(2, lambda v: T.buffer_store(self.most, T.Select(inside, most, T.float16(0)), [pixel * 2 + v]))

    def middle_begin(self) -> list[Expr]:
        """The first row and column that the depthwise convolution reads; may lie outside of the picture."""
        return begin((self.row, self.column), self.spec.depthwise)

    def chunk(self, step: Expr) -> None:
        """One chunk of channels through all stages."""
        shape, tiles, block = self.shape, self.tiles, self.block
        start, chunk = step * shape.places.halves, tiles.chunk
        if self.lead:
            block.copy_matrix(self.staged_lead, shape.chunk_pitch, self.weights, start, (shape.depth, chunk))
            block.copy_run(self.staged_biases, self.biases, step * shape.chunk_biases, shape.chunk_biases)
        block.copy_run(self.staged_taps, self.weights, start + shape.places.taps, shape.tap_halves)
        if self.tail:
            start = shape.tail + (self.panel * shape.chunks + step) * shape.tail_halves
            block.copy_matrix(self.staged_tail, shape.tail_pitch, self.weights, start, (chunk, shape.width))
        if self.lead:
            self.expand(self.lead, step)
        else:
            block.copy_window(
                self.middle, shape.middle, (shape.middle_row, shape.middle_pitch), self.input, self.image,
                self.middle_begin(), (step * chunk, chunk), self.spec.depthwise.shuffle,
                shape.copied.apart if shape.copied else 1, shape.copied is not None,
            )  # fmt: skip
        self.depthwise(step)
        if self.tail:
            self.sums.multiply(Matrix(self.made, shape.chunk_pitch), Matrix(self.staged_tail, shape.tail_pitch), chunk)

    def expand(self, tiles: WarpTiles, step: Expr) -> None:
        """The chunk's channels of the convolution in front, at all pixels that the depthwise one reads; zeros outside
        of the picture, and in channels that only fill the last chunk: an infinite input times their weights is NaN."""
        shape, count = self.shape, self.shape.made_rows // tiles.height
        halves, pitch = lane_halves(tiles, shape.depth), shape.chunk_pitch
        sums = WarpSums(tiles, self.thread, reversed_rows=halves[0] > 1)
        biases, right = sums.biases(self.staged_biases), Matrix(self.staged_lead, shape.chunk_pitch)
        # A product that is a loop of its own computes places anew behind it, and needs the registers itself.
        keeps_places = count > 1 and halves[0] > 1
        if keeps_places:
            sums.hold_places(Matrix(self.window, shape.input_pitch), right)
        # In units of what is loaded or stored at once, so that TVM sees how these lie.
        counts = sorted(set(halves))
        stored_at = [(sums.lane_row * pitch + sums.lane_column(each)) // (2 * each) for each in counts]
        own = [sums.lane_row, *stored_at]
        own = places(own) if keeps_places else own
        held = count > 1 and shape.depth * tiles.channels <= HELD
        if held:
            sums.hold(right, shape.depth)
        with T.serial(0, count, unroll=False if count > 1 else None) as part, T.sblock("expand"):
            opaque()
            first = part * tiles.height if count > 1 else 0
            left = Matrix(self.window, shape.input_pitch, first)
            sums.begin(biases)
            if held:
                sums.multiply_held(left, shape.depth)
            else:
                sums.multiply(left, right, shape.depth)
            for row, groups in sums.lines(halves):
                most = loaded(self.most, (own[0] + first + row) * 2, 2) if self.most is not None else None
                for numbers, column in groups:
                    each = len(numbers)
                    start = own[1 + counts.index(each)] * (2 * each) + (first + row) * pitch + column
                    channel = step * self.tiles.chunk + sums.lane_column(each) + column
                    self.keep_sums(sums.sums, numbers, channel, most, start)

    def keep_sums(self, sums: Any, numbers: Sequence[int], channel: Expr, most: Any, start: Expr) -> None:
        """Sums of the lead of neighbouring channels from `channel` on, two from each number on, activated, to where the
        depthwise convolution reads them; `most` are zeros outside of the picture."""
        lead = self.spec.lead
        assert lead is not None
        count, clip = 2 * len(numbers), clip_of(lead.activation)
        outside = most is not None and not clip
        with T.sblock("expanded"):
            values = registers(count, "float16")
            for pair, number in enumerate(numbers):
                made = sums
                if clip is None:
                    made = registers(2)
                    with T.unroll(0, 2) as v:
                        T.buffer_store(made, finished(sums[number + v], None, lead.activation, False), [v])
                    number = 0
                round_halves(values, 2 * pair, made, number, 2, clip or "", most if clip else None)
            # What holds for the first of some channels holds for the others, if their number is a multiple of that.
            alike = next(each for each in (count, 2, 1) if lead.channels % each == 0)
            for first in range(0, count, max(alike, 2)):
                kept: list[Expr] = [most[0] > T.float16(0)] if outside else []
                if lead.channels % self.tiles.chunk:
                    kept.append(channel + first < lead.channels)
                for pair in range(first, first + max(alike, 2) if kept else first, 2):
                    call_cuda("half2_kept", T.address_of(values[pair]), all_of(kept))
                if alike == 1:
                    second = T.Select(channel + first + 1 < lead.channels, values[first + 1], T.float16(0))
                    T.buffer_store(values, second, [first + 1])
            vector(count, lambda v: T.buffer_store(self.middle, values[v], [start + v]))

    def depthwise(self, step: Expr) -> None:
        """The chunk's depthwise convolution: a thread makes a run of pixels of eight channels, loading each row of its
        window once."""
        shape, tiles = self.shape, self.tiles
        with self.block.shared_out(shape.runs, self.thread) as item, T.sblock("depthwise"):
            octet, row, run = run_of(item, tiles, shape.order)
            if not shape.order.spare:
                self.make_run(step, octet * OCTET, row, run * tiles.run)
                return
            with T.If(row < tiles.rows), T.Then():
                self.make_run(step, octet * OCTET, row, run * tiles.run)

    def make_run(self, step: Expr, octet: Expr, row: Expr, column: Expr) -> None:
        """A run of pixels of eight channels."""
        shape, tiles = self.shape, self.tiles
        sums = registers(tiles.run * OCTET, "float16")
        self.taps(sums, octet, row, column)
        with T.unroll(0, tiles.run) as i, T.sblock("acted"):
            if self.tail:
                self.keep(sums, i * OCTET, (row * tiles.cols + column + i) * shape.chunk_pitch + octet)
            else:
                self.write_depthwise(step, row, column + i, octet, lambda v: cast(sums[i * OCTET + v], "float32"))

    def keep(self, sums: Any, first: Expr, start: Expr) -> None:
        """Eight sums of the depthwise convolution, activated, to where the projection reads them."""
        activation = self.spec.depthwise.activation
        clip = clip_of(activation)
        if clip is None:
            stored(
                self.made, start, OCTET,
                lambda v: finished(cast(sums[first + v], "float32"), None, activation, False),
            )  # fmt: skip
            return
        clip_halves(sums, first, OCTET, clip)
        vector(OCTET, lambda v: T.buffer_store(self.made, sums[first + v], [start + v]))

    def taps(self, sums: Any, octet: Expr, row: Expr, column: Expr) -> None:
        """The sums of a run of pixels, two channels at once, from the bias on; nine or twenty-five steps lose little in
        float16."""
        shape, stage, run = self.shape, self.spec.depthwise, self.tiles.run
        bias = loaded(self.staged_taps, shape.taps * self.tiles.chunk + octet, OCTET)
        with T.unroll(0, run) as i:
            vector(OCTET, lambda v: T.buffer_store(sums, bias[v], [i * OCTET + v]))
        span = (run - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1
        with T.unroll(0, stage.kernel[0]) as y, T.sblock("taps"):
            line, taps = registers(span * OCTET, "float16"), registers(stage.kernel[1] * OCTET, "float16")
            first = shape.middle_line(row, y) * shape.middle_row + column * stage.stride[1] * shape.middle_pitch
            with T.unroll(0, span) as x:
                start = first + x * shape.middle_pitch + octet
                vector(OCTET, lambda v: T.buffer_store(line, self.middle[start + v], [x * OCTET + v]))
            with T.unroll(0, stage.kernel[1]) as x:
                start = (y * stage.kernel[1] + x) * self.tiles.chunk + octet
                vector(OCTET, lambda v: T.buffer_store(taps, self.staged_taps[start + v], [x * OCTET + v]))
            with T.unroll(0, run) as i, T.unroll(0, stage.kernel[1]) as x:
                place = (i * stage.stride[1] + x * stage.dilation[1]) * OCTET
                multiply_halves(sums, i * OCTET, line, place, taps, x * OCTET)

    def write_depthwise(
        self, step: Expr, row: Expr, column: Expr, octet: Expr, value: Callable[[Expr], Expr]
    ) -> None:  # fmt: skip
        """Eight channels of a pixel straight into the output."""
        last, tiles = self.spec.last, self.tiles
        row, column = self.row + row, self.column + column
        inside = True if self.whole else tirx.all(row < last.height, column < last.width)
        epilogue = Epilogue(self.output, self.residual, self.spec.residual_first, last.activation, None, OCTET)
        at = (self.image, row, column, step * tiles.chunk + octet)
        epilogue.write(at, [inside], last.channels % tiles.chunk == 0, value)

    def finish(self, tiles: WarpTiles, sums: Any) -> None:
        """Every thread writes its sums of the projection."""
        last, shape = self.spec.last, self.shape
        bias, full = (self.biases, shape.bias), last.channels % tiles.width == 0
        epilogue = Epilogue(self.output, self.residual, self.spec.residual_first, last.activation, bias, OCTET)
        with self.sums.octets() as (number, pixel, octet):
            row, column = self.row + pixel // self.tiles.cols, self.column + pixel % self.tiles.cols
            inside = [
                tiles.height == shape.pixels or pixel < shape.pixels,
                self.whole or tirx.all(row < last.height, column < last.width),
            ]
            at = (self.image, row, column, self.panel * tiles.width + octet)
            epilogue.write(at, inside, full, lambda v: sums[number + v])


def _warps(tiles: object) -> WarpTiles | None:
    assert tiles is None or isinstance(tiles, WarpTiles)
    return tiles
