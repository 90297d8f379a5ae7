"""Passes on the plan: tiles, tensors between two phases, the places of packed weights, and those of tensors in the
workspace."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.plain import Plain
from mncc.kernels.space import decisions_of
from mncc.network.types import TensorType
from mncc.plan.model import Plan, PlannedTensor, Tiles


def choose_tiles(plan: Plan) -> Plan:
    """Every kernel with the tiles that were tuned for it, or else those that the cost model chooses for the target.
    Tuned ones are taken where the kernel can have them: a table is a file, and says what it likes."""
    return replace(plan, kernels=tuple(replace(k, tiles=_tiles(k.spec, plan)) for k in plan.kernels))


def _tiles(spec: Chain | Plain, plan: Plan) -> Tiles:
    tuned = plan.tuned.get(spec)
    if tuned is not None and decisions_of(spec, plan.target, tuned) is not None:
        return tuned
    tiles: Tiles = family_of(spec).choose_tiles(spec, plan.machine)
    return tiles


def share_between_phases(plan: Plan) -> Plan:
    """Every kernel of two phases, or of two launches, with a tensor of its own between them."""
    kernels, tensors = [], dict(plan.tensors)
    for kernel in plan.kernels:
        spec, tiles, name = kernel.spec, kernel.tiles, f"{kernel.name}.shared"
        array = family_of(spec).shared(spec, tiles)
        if array is not None:
            shape = TensorType((kernel.images, array.rows, array.cols, array.channels))
            tensors[name] = PlannedTensor(name, shape, spare=array.pitch - array.channels, dtype=array.dtype)
        kernels.append(kernel if array is None else replace(kernel, shared=name))
    return plan if kernels == list(plan.kernels) else replace(plan, kernels=tuple(kernels), tensors=tensors)


def place_weights(plan: Plan) -> Plan:
    """Every kernel with the offset of its weights; they follow one another in the order the kernels run."""
    kernels, offset = [], 0
    for kernel in plan.kernels:
        kernels.append(replace(kernel, weights_offset=offset))
        offset += kernel.weight_floats * 4
    return replace(plan, kernels=tuple(kernels))


def place_tensors(plan: Plan) -> Plan:
    """Every workspace tensor with an offset: the largest first, each as low as what lives beside it allows."""
    lifetimes = plan.lifetimes
    placed: dict[str, PlannedTensor] = {}
    for name in sorted(lifetimes, key=lambda n: (-plan.tensors[n].bytes, n)):
        first, last = lifetimes[name]
        beside = [t for n, t in placed.items() if lifetimes[n][0] <= last and first <= lifetimes[n][1]]
        offset, size = 0, plan.tensors[name].bytes
        for other in sorted(beside, key=lambda t: t.offset):
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + other.bytes)
        placed[name] = replace(plan.tensors[name], offset=offset)
    return replace(plan, tensors={name: placed.get(name, t) for name, t in plan.tensors.items()})
