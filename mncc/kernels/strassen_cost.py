"""The cost model of Strassen's product: its tiles, and which chains gain by it.

The constants are fits to times of MobileNetV1's kernels on a Zen 3 core with AVX2; what register tiles cost is
register_cost's, and a target's registers, vectors and caches come from its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from mncc.kernels.chain import Chain, Stage
from mncc.kernels.chain_cost import choose_tiles as choose_chain_tiles
from mncc.kernels.chain_predict import pass_slots, takes_phases
from mncc.kernels.chain_predict import predict as predict_chain
from mncc.kernels.chain_space import depthwise_tiles, stage_tiles
from mncc.kernels.knobs import Knob
from mncc.kernels.register_cost import L3_EXPOSED
from mncc.kernels.slots import Prediction, Slots, stall
from mncc.kernels.strassen import OUTPUTS, PRODUCTS, Strassen, StrassenTiles, fetching_tiles, fits, weight_layout
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile

SUM_SLOTS = 30
"""Slots in which the left factors of a pair of pixels are made, a vector of channels of either half: four loads, seven
stores, most of them to lines of the L2 cache."""
ADD_SLOTS = 4
"""Slots of adding a vector of a product to the output."""
GAIN = 1.09
"""How many times faster than the product itself it has to be, since its weights are larger."""


def faster(chain: Chain, target: Target) -> Chain:
    """The chain with Strassen's product where that is faster; else the chain itself. It does not gain without panels
    that are fetched: there are seven quarters as many weights, and each is used half as often."""
    if not target.strassen or type(chain) is not Chain or not fits(chain):
        return chain
    if chain.copies_input or not takes_phases(chain):
        return chain
    spec = Strassen(**{field.name: getattr(chain, field.name) for field in fields(Chain)})
    if not any(_depthwise(spec, target)):
        return chain
    tiles, plain = choose_tiles(spec, target), predict_chain(chain, choose_chain_tiles(chain, target), target)
    fast = predict(spec, tiles, target).slots.total * GAIN < plain.slots.total
    return spec if fast and tiles.fetches else chain


def predict(spec: Strassen, tiles: StrassenTiles, target: Target) -> Prediction:
    """The parts of the time: the depthwise stage with the left factors, the seven products with what adds them to the
    output, and weights and tensors that do not stay in the L2 cache."""
    depthwise = _depthwise_slots(spec, tiles.depthwise, target)
    pairs = spec.pairs * spec.half_in / target.lanes
    product = _product_slots(spec, tiles.product, target)
    added = sum(map(len, OUTPUTS)) * spec.pairs * spec.half_out / target.lanes * ADD_SLOTS
    stages = depthwise + Slots(tiles=SUM_SLOTS * pairs), product.times(PRODUCTS) + Slots(tiles=added)
    weights = weight_layout(spec).floats * 4
    per_slot = target.l3_bytes if weights <= target.l3 else target.memory_bytes
    factors = PRODUCTS * spec.pairs * spec.half_in * 4
    moved = weights + (2 * factors if factors + weights > target.l2 else 0)
    waited = stall(sum(slots.total for slots in stages), moved / per_slot, L3_EXPOSED)
    return Prediction(spec.macs / target.lanes, stages, Slots(memory=waited))


def _depthwise_slots(spec: Strassen, tile: ConvTile, target: Target) -> Slots:
    return pass_slots(spec, 0, tile, spec.last.height, target)


def _product_slots(spec: Strassen, tile: ConvTile, target: Target) -> Slots:
    """One of the seven."""
    return pass_slots(_block_product(spec), 0, tile, 1, target)


def _block_product(spec: Strassen) -> Chain:
    """One of the seven products as a chain of its own, whose pixels are a row."""
    return Chain(1, spec.pairs, spec.half_in, (Stage("conv", 1, spec.pairs, spec.half_out),))


@cache
def choose_tiles(spec: Strassen, target: Target) -> StrassenTiles:
    """The default tiles: of either stage the fastest."""
    depthwise = min(_depthwise(spec, target), key=lambda tile: _depthwise_slots(spec, tile, target).total)
    found = {tile: _product_slots(spec, tile, target).total for tile in _products(spec, target)}
    product = min(found, key=lambda tile: (found[tile], tile.accumulators))
    return _tiles(spec, depthwise, product, target)


def _tiles(spec: Strassen, depthwise: ConvTile, product: ConvTile, target: Target) -> StrassenTiles:
    """Products fetch their next panels where there are tiles enough to fetch one."""
    enough = spec.pairs >= product.cols * fetching_tiles(product)
    return StrassenTiles(depthwise, product, target.own_ahead and enough)


def _depthwise(spec: Strassen, target: Target) -> Iterator[ConvTile]:
    """Register tiles whose vectors fill one half of the channels."""
    return (tile for tile in depthwise_tiles(spec.stages[0], target) if spec.half_in % tile.lanes == 0)


def _products(spec: Strassen, target: Target) -> Iterator[ConvTile]:
    """Register tiles of one row of pairs."""
    return stage_tiles(_block_product(spec), 0, target)


def knobs(spec: Strassen, target: Target) -> tuple[Knob, ...]:
    """The two register tiles."""
    depthwise, products = (tuple(dict.fromkeys(each(spec, target))) for each in (_depthwise, _products))
    return Knob("depthwise", depthwise), Knob("product", products)


def joined(spec: Strassen, target: Target, values: tuple[Any, ...]) -> StrassenTiles:
    """Either tile goes with any other."""
    depthwise, product = values
    return _tiles(spec, depthwise, product, target)


def values(tiles: StrassenTiles) -> tuple[Any, ...]:
    """As `knobs` names them."""
    return tiles.depthwise, tiles.product
