"""The family for a depthwise convolution and a large pointwise one behind it: Strassen's product of 2 x 2 blocks.

V. Strassen, "Gaussian elimination is not optimal" (1969): a product of matrices of 2 x 2 blocks takes seven products of
blocks and not eight. Blocks are pixels of even and odd columns by halves of the input channels, and these by halves of
the output channels. The sums of blocks of weights are made when weights are packed, those of pixels by the kernel's
first phase; the second adds each of the seven products to the output where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import ClassVar

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.tiles import ConvTile, Phase, Scratch, Segment, aligned, cover_channels, pack_panels, spread

PIXELS = (
    ((0, 1), (3, 1)),
    ((2, 1), (3, 1)),
    ((0, 1),),
    ((3, 1),),
    ((0, 1), (1, 1)),
    ((2, 1), (0, -1)),
    ((1, 1), (3, -1)),
)
"""Of every product its left factor, a sum of blocks with their signs. Blocks are numbered 0 and 1, even columns and the
first and second half of their channels; 2 and 3, odd columns."""
WEIGHTS = (
    ((0, 1), (3, 1)),
    ((0, 1),),
    ((1, 1), (3, -1)),
    ((2, 1), (0, -1)),
    ((3, 1),),
    ((0, 1), (1, 1)),
    ((2, 1), (3, 1)),
)
"""Its right factor: blocks 0 and 1 are the first half of the input channels and the first and second of the output's, 2
and 3 the second half of the input channels."""
OUTPUTS = (
    ((0, 1), (3, 1)),
    ((2, 1), (3, -1)),
    ((1, 1), (3, 1)),
    ((0, 1), (2, 1)),
    ((0, -1), (1, 1)),
    ((3, 1),),
    ((0, 1),),
)
"""The blocks of the output that it is added to."""
PRODUCTS = len(OUTPUTS)
SETS_APART = 1024
"""Bytes: pairs of pixels of a factor that lie this far apart, or a multiple of it, share sets of the L1 cache."""
RATE = 2
"""Floats of the next panel of weights that a step of a product fetches: half a line in four steps."""
CHUNK = 32
"""Channels of either half that go through the first phase together: two cache lines of every pixel."""


@dataclass(frozen=True)
class Strassen(Chain):
    """A chain of a depthwise stage and a pointwise one, on rows of an even number of pixels and even numbers of
    channels; its input has the borders that it needs."""

    family: ClassVar[str] = "strassen"

    def __post_init__(self) -> None:
        """Raises AssertionError for a chain that the family does not take."""
        assert fits(self), self

    @property
    def pairs(self) -> int:
        """Pixels of a block."""
        return self.last.height * self.last.width // 2

    @property
    def half_in(self) -> int:
        """Input channels of a block of the product."""
        return self.stages[0].channels // 2

    @property
    def half_out(self) -> int:
        """Output channels of a block."""
        return self.last.channels // 2

    @property
    def product_macs(self) -> int:
        """Multiply-adds of the seven products."""
        return PRODUCTS * self.pairs * self.half_in * self.half_out


def fits(chain: Chain) -> bool:
    """True for the chains that can be computed so."""
    if len(chain.stages) != 2 or chain.residual or chain.pool or {chain.weights_dtype, chain.dtype} != {"float32"}:
        return False
    depthwise, product = chain.stages
    plain = depthwise.kind == "depthwise" and product.kind == "conv" and product.pointwise and product.groups == 1
    even = product.width % 2 == depthwise.channels % 2 == product.channels % 2 == 0
    return plain and even and depthwise.shuffle == product.shuffle == 1


@dataclass(frozen=True)
class StrassenTiles:
    """The knobs: the register tiles of the depthwise stage and of the seven products, whose `cols` are pairs of pixels
    that lie one behind the other over the ends of rows. `fetches`: whether products fetch their next panel of
    weights."""

    depthwise: ConvTile
    product: ConvTile
    fetches: bool = False


def chunk(spec: Strassen, tiles: StrassenTiles) -> int:
    """Channels of either half that go through the first phase together."""
    lanes = tiles.depthwise.lanes
    return gcd(spec.half_in // lanes, max(1, CHUNK // lanes)) * lanes


def fetching_tiles(tile: ConvTile) -> int:
    """Register tiles in whose steps a panel of weights is fetched."""
    return -(-tile.channels // RATE)


def segments(spec: Strassen, tiles: StrassenTiles) -> tuple[Segment, ...]:
    """How one half of the output channels is cut."""
    return cover_channels(spec.half_out, tiles.product.channels, tiles.product.lanes)


def phases(spec: Strassen, tiles: StrassenTiles) -> tuple[Phase, ...]:
    """Chunks of channels; then panels of either half of the output channels, all seven products of them."""
    first, second = spec.half_in // chunk(spec, tiles), sum(s.count for s in segments(spec, tiles))
    return Phase(first, first), Phase(second, second)


def shared_array(spec: Strassen) -> Scratch:
    """What lies between the phases: the left factors, one after the other."""
    return Scratch(1, PRODUCTS, spec.pairs, spec.half_in, spread(spec.half_in, SETS_APART), 0)


def scratch_layout(spec: Strassen, tiles: StrassenTiles) -> tuple[Scratch, ...]:
    """What the depthwise stage makes of a chunk of both halves of the channels."""
    both = 2 * chunk(spec, tiles)
    return (Scratch(1, spec.last.height, spec.last.width, both, both, 0),)


@dataclass(frozen=True)
class StrassenWeights:
    """Where the packed arrays lie, in floats: the depthwise stage's filters and biases, the right factors one after the
    other, the output's biases, and the end."""

    taps: int
    taps_bias: int
    factors: int
    bias: int
    floats: int


def weight_layout(spec: Strassen) -> StrassenWeights:
    """The layout of the kernel's weights."""
    taps_bias = aligned(spec.depth(0) * spec.stages[0].channels)
    factors = taps_bias + aligned(spec.stages[0].channels)
    bias = factors + aligned(PRODUCTS * spec.half_in * spec.half_out)
    return StrassenWeights(0, taps_bias, factors, bias, bias + aligned(spec.last.channels))


def pack(spec: Strassen, tiles: StrassenTiles, arrays: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One flat float32 array from `kernel` (kh, kw, channels, 1) and (1, 1, in, out) and their `bias` (out,): the right
    factors are added up in float64 and rounded once."""
    layout, channels = weight_layout(spec), spec.stages[0].channels
    packed = np.zeros(layout.floats, np.float32)
    lanes = tiles.depthwise.lanes
    taps = arrays[0]["kernel"].reshape(spec.depth(0), channels)
    packed[: taps.size] = pack_panels(taps, cover_channels(channels, lanes, lanes))
    packed[layout.taps_bias : layout.taps_bias + channels] = arrays[0]["bias"]
    matrix = arrays[1]["kernel"].astype(np.float64).reshape(2, spec.half_in, 2, spec.half_out)
    blocks = [matrix[row, :, column] for row in range(2) for column in range(2)]
    factors = [sum(sign * blocks[number] for number, sign in factor) for factor in WEIGHTS]
    flat = np.concatenate([pack_panels(np.asarray(factor), segments(spec, tiles)) for factor in factors])
    packed[layout.factors : layout.factors + flat.size] = flat
    packed[layout.bias : layout.bias + spec.last.channels] = arrays[1]["bias"]
    return packed


def describe(spec: Strassen, tiles: StrassenTiles) -> list[str]:
    """The stages with their tiles, for printed plans."""
    first, last = spec.stages
    acts = [f" {stage.activation.describe()}" if stage.activation else "" for stage in spec.stages]
    size, tile, product = "x".join(map(str, (*first.kernel, first.channels))), tiles.depthwise, tiles.product
    unrolled = f", unrolled by {product.unroll}" if product.unroll > 1 else ""
    at_once = f", {product.steps} inputs at once" if product.steps > 1 else ""
    return [
        f"Strassen's {PRODUCTS} products of {spec.pairs} pairs of pixels, {spec.half_in} by {spec.half_out} channels",
        f"  depthwise {size} / {first.stride[0]}{acts[0]} -> {first.height}x{first.width}: tile "
        f"{tile.rows}x{tile.cols} pixels x {tile.channels} channels, {tile.lanes} lanes",
        f"  conv 1x1x{last.channels} / 1{acts[1]} -> {last.height}x{last.width}: tile "
        f"{product.cols} pairs x {product.channels} channels, {product.lanes} lanes{at_once}{unrolled}",
    ]
