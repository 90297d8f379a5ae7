"""The cost model of Winograd convolutions: their tiles, and which convolutions gain by them.

The constants are fits to times of the layers of VGG-16, ResNet-50 and SqueezeNet on a Zen 4 core (AVX-512 and AVX2), as
`mncc bench --profile` prints them; a target's registers, vectors and caches come from its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_space import parts, pixels_in_registers
from mncc.kernels.knobs import Knob
from mncc.kernels.slots import Prediction, Slots
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile, cover_channels, scratch_floats
from mncc.kernels.toom import PAIRS, TAPS
from mncc.kernels.winograd import Winograd, WinogradTiles, scratch_layout, weight_layout

LOAD_OVERHEAD, WEIGHT_OVERHEAD = 0.2, 0.4
"""Slots a load of a product costs although it runs beside the multiplications: of a value, and of a vector of weights,
whose panel does not stay in the L1 cache. Values cost as much where those of a register tile fill half of it."""
TILE_OVERHEAD = 12
"""Slots a register tile spends on loop control and addresses; with its stores one more an accumulator."""
TRANSFORM_SLOTS = 9
"""Slots a transform takes a position and vector: about 4 for its arithmetic, the rest for lines of the L2 cache."""
DIRECT_SHARE = 0.93
"""Of the multipliers' speed, what a direct convolution reaches."""
STREAM = 8
"""Bytes a slot of weights that come from behind the L2 cache, beside other work."""
HEAVY_SHARE = 0.6
"""Of the L2 cache: weights beyond this do not stay there from strip to strip."""
LIGHT_STRIP, HEAVY_STRIP = 0.3, 4
"""L2 caches that a strip's scratch may fill: beside weights that stay in the L2 cache, and where they do not, so that
they are read for many tiles at once."""
WEIGHT_STRIP = 1 / 8
"""Of its weights, what a strip's scratch may take in any case."""
GAIN = 1.1
"""How many times faster than the direct convolution it has to be, since its weights are larger."""


def faster(chain: Chain, target: Target) -> Chain:
    """The chain as a Winograd convolution where that is faster; else the chain itself."""
    stage = chain.last
    plain = Stage("conv", stage.height, stage.width, stage.channels, (TAPS, TAPS), activation=stage.activation)
    if type(chain) is not Chain or chain.stages != (replace(plain, padding=stage.padding),) or chain.pool:
        return chain
    made = [_as_winograd(chain, size) for size in PAIRS]
    best = min(made, key=lambda spec: slots(spec, choose_tiles(spec, target), target))
    fast = slots(best, choose_tiles(best, target), target) * GAIN < direct_slots(chain, target)
    return best if fast else chain


def _as_winograd(chain: Chain, size: int) -> Winograd:
    return Winograd(**{field.name: getattr(chain, field.name) for field in fields(Chain)}, size=size)


def direct_slots(chain: Chain, target: Target) -> float:
    """Time of the direct convolution, in slots of one full vector multiplication."""
    vectors = -(-chain.last.channels // target.lanes)
    pixels = chain.last.height * chain.last.width
    depth = chain.last.depth(chain.channels)
    bytes_ = depth * chain.last.channels * 4
    return pixels * vectors * depth / DIRECT_SHARE + (bytes_ / STREAM if bytes_ > HEAVY_SHARE * target.l2 else 0)


def slots(spec: Winograd, tiles: WinogradTiles, target: Target) -> float:
    """Time of the transforms and products, in slots of one full vector multiplication."""
    return predict(spec, tiles, target).slots.total


def predict(spec: Winograd, tiles: WinogradTiles, target: Target) -> Prediction:
    """The parts of the time: the products, at full speed and what their tiles lose, the transforms, whose time is that
    of lines of the L2 cache, and weights that do not stay there."""
    strips = -(-spec.tile_rows // tiles.strip)
    total = 0.0
    for strip in range(strips):
        rows = min(tiles.strip, spec.tile_rows - strip * tiles.strip)
        total += spec.positions * _product_slots(tiles.product, rows * spec.tile_columns, spec, target)
    vectors = sum(-(-channels // target.lanes) for channels in (spec.channels, spec.last.channels))
    transforms = TRANSFORM_SLOTS * spec.positions * vectors * spec.tile_rows * spec.tile_columns
    memory = _weight_bytes(spec) * strips / STREAM if _is_heavy(spec, target) else 0
    pixels = spec.tile_rows * spec.tile_columns
    multiply = spec.positions * pixels * spec.channels * spec.last.channels / target.lanes
    made = Slots(multiply, total - multiply, transforms)
    return Prediction(spec.macs / target.lanes, (made,), Slots(memory=memory))


def choose_tiles(spec: Winograd, target: Target) -> WinogradTiles:
    """The default tiles of a convolution on a target."""
    budget = LIGHT_STRIP * target.l2
    if _is_heavy(spec, target):
        budget = max(HEAVY_STRIP * target.l2, WEIGHT_STRIP * _weight_bytes(spec))
    for strip in parts(spec.tile_rows):
        tiles = _with_strip(spec, strip, target)
        if scratch_floats(scratch_layout(spec, tiles)) * 4 <= budget:
            break
    return tiles


@cache
def _with_strip(spec: Winograd, strip: int, target: Target) -> WinogradTiles:
    """The register tile that is fastest for strips of that many rows."""
    pixels = strip * spec.tile_columns

    def order(tile: ConvTile) -> tuple[float, int]:
        return _product_slots(tile, pixels, spec, target), tile.cols

    return _tiles(spec, strip, min(_products(spec, target), key=order), target)


def _tiles(spec: Winograd, strip: int, product: ConvTile, target: Target) -> WinogradTiles:
    """Where the weights are heavy and one strip holds all tiles, tasks share out channels, so that each reads only its
    own weights."""
    whole = strip >= spec.tile_rows and _is_heavy(spec, target)
    return WinogradTiles(strip, "channels" if whole else "rows", product, min(target.lanes, product.lanes))


def _products(spec: Winograd, target: Target) -> Iterator[ConvTile]:
    """The register tiles that fit into the registers."""
    channels = spec.last.channels
    lanes = max(width for width in target.narrow if width <= max(channels, target.narrow[-1]))
    for vectors in range(1, 7):
        width = min(vectors * lanes, max(lanes, channels // lanes * lanes))
        steps = target.lanes if target.inputs == "lane" else 1
        for cols in range(1, pixels_in_registers(vectors, steps, target) + 1):
            yield ConvTile(1, cols, width, lanes, steps)


def knobs(spec: Winograd, target: Target) -> tuple[Knob, ...]:
    """The strip and the register tile. What tasks share out follows from the strip."""
    products = tuple(dict.fromkeys(_products(spec, target)))
    return Knob("strip", parts(spec.tile_rows)), Knob("product", products)


def joined(spec: Winograd, target: Target, values: tuple[Any, ...]) -> WinogradTiles:
    """Any strip goes with any register tile."""
    strip, product = values
    return _tiles(spec, strip, product, target)


def values(tiles: WinogradTiles) -> tuple[Any, ...]:
    """As `knobs` names them."""
    return tiles.strip, tiles.product


def _product_slots(tile: ConvTile, pixels: int, spec: Winograd, target: Target) -> float:
    """Time of one position's product over `pixels` tiles."""
    load = WEIGHT_OVERHEAD if tile.cols * spec.channels * 4 > target.l1 // 2 else LOAD_OVERHEAD
    total = 0.0
    for segment in cover_channels(spec.last.channels, tile.channels, tile.lanes):
        vectors = -(-segment.width // segment.lanes)
        step = max(tile.cols * vectors, target.fma_latency) + load * tile.cols + WEIGHT_OVERHEAD * vectors
        slot = max(segment.lanes, target.full) / target.lanes
        total += slot * segment.count * (spec.channels * step + tile.cols * vectors + TILE_OVERHEAD)
    return total * -(-pixels // tile.cols)


def _weight_bytes(spec: Winograd) -> int:
    return weight_layout(spec)[1] * 4


def _is_heavy(spec: Winograd, target: Target) -> bool:
    return _weight_bytes(spec) > HEAVY_SHARE * target.l2
