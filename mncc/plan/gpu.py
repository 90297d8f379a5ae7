"""What is fused for a GPU, and which family computes it: of all ways to cut a line of convolutions into kernels the one
of the least cost: the predicted time, a launch counted with each, and something for the bytes that are moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any

from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.gpu_direct import GpuDirect
from mncc.kernels.gpu_fused import GpuFused, fuses
from mncc.kernels.gpu_plain import GpuPlain
from mncc.kernels.gpu_product import GpuProduct, groups_multiply, multiplies
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.gpu_time import GpuPrediction
from mncc.kernels.gpu_warp_fused import WarpFused
from mncc.kernels.gpu_warp_product import WarpProduct
from mncc.kernels.plain import Plain
from mncc.kernels.precision import Precision, StoredType
from mncc.network.graph import Network
from mncc.network.ops import Conv2d
from mncc.plan.fuse import kernel_of, only_readers, pools, shuffles_before_depthwise
from mncc.plan.half import half_chain
from mncc.plan.model import Plan
from mncc.plan.units import Unit

LONGEST = 3
"""Convolutions of one kernel, at most."""
MOST_MOVED = 3.0
"""Times that a network's kernels are to move the bytes of their tensors and weights, at most."""
DEARER = (1.0, 1.4, 2.0)
"""What a byte counts, in what it counts for a target, until they do. Most networks are content with the first."""
Machine = tuple[GpuTarget, Precision]


def prices(target: GpuTarget) -> Iterator[GpuTarget]:
    """The target with what a byte may count, one after the other."""
    for times in DEARER:
        yield replace(target, byte=times * target.byte, half_byte=times * target.half_byte)


def reads_again(plan: Plan) -> bool:
    """Whether the kernels of a plan for a GPU move their bytes more often than they should."""
    found = [kernel.predict(plan.gpu) for kernel in plan.kernels]
    whole = [each for each in found if isinstance(each, GpuPrediction)]
    return sum(each.moved for each in whole) > MOST_MOVED * sum(each.unique for each in whole)


def group_for_gpu(
    network: Network, units: tuple[Unit, ...], target: GpuTarget, precision: Precision
) -> list[tuple[Unit, ...]]:
    """Units that become one kernel together, in the order of their last nodes."""
    machine = target, precision
    reader = only_readers(network, units)
    shuffles = shuffles_before_depthwise(network, units, reader)
    groups: list[tuple[Unit, ...]] = []
    lined = {shuffle.output for shuffle in shuffles.values()}
    for unit in units:
        if unit.output in lined:
            continue
        line = _line(unit, reader)
        lined |= {member.output for member in line}
        groups += _fastest(network, line, machine, shuffles.get(unit.output))
    order = {u.output: i for i, u in enumerate(units)}
    pooled = _with_pools(network, groups, reader, machine)
    return sorted(pooled, key=lambda group: order[group[-1].output])


def _line(unit: Unit, reader: dict[str, Unit]) -> list[Unit]:
    """The unit and those behind it of which each alone reads the one before; convolutions all, unless it is alone."""
    line = [unit]
    while unit.is_convolution and unit.residual is None:
        following = reader.get(unit.output)
        if following is None or not following.is_convolution or following.head.inputs[0] != unit.output:
            break
        if following.residual == unit.output:
            break
        unit = following
        line.append(unit)
    return line


def _fastest(network: Network, line: list[Unit], machine: Machine, shuffle: Unit | None) -> list[tuple[Unit, ...]]:
    """The line in groups, the first of them with the shuffle in front of a depthwise convolution: a line begins with
    that, because what makes its input is none."""
    best: list[tuple[float, list[tuple[Unit, ...]]]] = [(0.0, [])]
    for end in range(1, len(line) + 1):
        ways = []
        for begin in range(max(0, end - LONGEST), end):
            group, (before, groups) = tuple(line[begin:end]), best[begin]
            if begin == 0 and shuffle is not None:
                group = (shuffle, *group)
            cost = _cost(network, group, machine)
            if cost is not None:
                ways.append((before + cost, [*groups, group]))
        best.append(min(ways, key=lambda way: way[0]))
    return best[-1][1]


def _cost(network: Network, group: tuple[Unit, ...], machine: Machine) -> float | None:
    """What a group costs as one kernel, in seconds; None where it cannot be one. That of a single unit is a number."""
    if len(group) == 1 and not group[0].is_convolution:
        return 0.0
    if len(group) > 1 and any(unit.residual is not None for unit in group[:-1]):
        return None
    kernel = kernel_of(network, group)
    assert isinstance(kernel.spec, Chain)
    chain = kernel.spec
    if machine[1].values == "float16":
        # Only what is the caller's stays float32, and is loaded number by number.
        ends = {i.name for i in network.inputs} | {output.value for output in network.outputs}
        types: list[StoredType] = ["float32" if v in ends else "float16" for v in (*kernel.inputs, kernel.output)]
        chain = half_chain(chain, types[:-1], types[-1])
    return _chain_cost(chain, kernel.images, machine[0])


@cache
def _chain_cost(chain: Chain, images: int, target: GpuTarget) -> float | None:
    spec = gpu_chain(chain, images, target)
    return _kernel_cost(spec, target) if spec else None


def _kernel_cost(spec: Chain, target: GpuTarget) -> float | None:
    """That of the tiles which a kernel gets; None where none fit."""
    tiles = family_of(spec).choose_tiles(spec, target)
    if tiles is None:
        return None
    prediction = family_of(spec).predict(spec, tiles, target)
    assert isinstance(prediction, GpuPrediction)
    return prediction.cost


def _with_pools(
    network: Network, groups: list[tuple[Unit, ...]], reader: dict[str, Unit], machine: Machine
) -> list[tuple[Unit, ...]]:
    """A global mean joins the pointwise convolution before it where that stands alone and a block holds all pixels."""
    joined = {}
    for group in groups:
        pool = reader.get(group[0].output)
        alone = len(group) == 1 and isinstance(group[0].head.op, Conv2d)
        fits = alone and pool is not None and pools(network, group[0], pool)
        if fits and pool is not None and _cost(network, (*group, pool), machine) is not None:
            joined[pool.output] = (*group, pool)
    taken = {group[0].output for group in joined.values()}
    return [joined.get(group[-1].output, group) for group in groups if group[-1].output not in taken]


def typed(chain: Chain, precision: Precision) -> Chain:
    """The chain as it is computed."""
    return replace(chain, dtype=precision.values, weights_dtype=precision.weights)


def gpu_chain(chain: Chain, images: int, target: GpuTarget) -> Chain | None:
    """The chain as a kernel of a GPU family, for so many images; None where no family takes it."""
    if len(chain.stages) == 1 and multiplies(chain.stages):
        kind = WarpProduct if chain.dtype == "float16" else GpuProduct
        product = kind(**_values(_flattened(chain)), images=images)
        if family_of(product).choose_tiles(product, target) is not None:
            return product
    if chain.pool:
        return None
    if len(chain.stages) == 1 and groups_multiply(chain.last):
        return _grouped(chain, images, target)
    if fuses(chain.stages):
        fused = (WarpFused if chain.dtype == "float16" else GpuFused)(**_values(chain), images=images)
        if family_of(fused).choose_tiles(fused, target) is not None:
            return fused
    return GpuDirect(**_values(chain), images=images) if len(chain.stages) == 1 else None


def _grouped(chain: Chain, images: int, target: GpuTarget) -> GpuProduct | GpuDirect:
    """A grouped convolution as products, or where groups are too small for these an element a thread."""
    product = WarpProduct if chain.dtype == "float16" else GpuProduct
    kinds = product(**_values(_flattened(chain)), images=images), GpuDirect(**_values(chain), images=images)
    costs = {spec: cost for spec in kinds if (cost := _kernel_cost(spec, target)) is not None}
    return min(costs, key=lambda spec: costs[spec])


def _flattened(chain: Chain) -> Chain:
    """A pointwise product's picture as one row of pixels."""
    only = chain.last
    if not only.pointwise:
        return chain
    pixels = only.height * only.width
    return replace(chain, height=1, width=pixels, stages=(replace(only, height=1, width=pixels),))


def _values(spec: Chain | Plain) -> dict[str, Any]:
    return {field.name: getattr(spec, field.name) for field in fields(spec)}


def choose_gpu_families(plan: Plan) -> Plan:
    """The plan with every kernel in a family for GPUs."""
    kernels = []
    for kernel in plan.kernels:
        spec = kernel.spec
        if isinstance(spec, Chain):
            found = gpu_chain(typed(spec, plan.precision), kernel.images, plan.gpu)
            assert found is not None, f"{kernel.name} has no family"
            kernels.append(replace(kernel, spec=found))
        else:
            kernels.append(replace(kernel, spec=GpuPlain(**_values(spec))))
    return replace(plan, kernels=tuple(kernels))
