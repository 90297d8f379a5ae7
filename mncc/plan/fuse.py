"""Units -> kernels. A depthwise convolution pulls the pointwise one behind it and the convolution in front of it into
one chain, and the channel shuffle between them; what is left becomes a chain of one stage or a plain kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from mncc.kernels.chain import NO_PADS, Chain, ChainTiles, Stage, executed_macs
from mncc.kernels.chain_cost import FEW_PIXELS, as_fast_joined, choose_tiles
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.plain import Plain, PlainOp
from mncc.kernels.target import Target
from mncc.kernels.tiles import FLOATS_PER_LINE
from mncc.network.graph import Network, Node
from mncc.network.ops import ChannelShuffle, Conv2d, Dense, Depthwise, GlobalPool, Reshape
from mncc.plan.model import Plan, PlannedKernel, PlannedTensor, StageSource
from mncc.plan.units import Unit
from mncc.plan.views import Views

LARGE_SHARE = 0.5
"""Of the L2 cache; an image of a tensor beyond this is not kept whole between two chains that are as fast as one."""
RECOMPUTED = 0.15
"""Of a chain's multiply-adds, the most that two threads may compute twice; past it the stages stay separate."""


def fuse(
    network: Network, groups: Iterable[tuple[Unit, ...]], views: Views, target: Target | GpuTarget
) -> Plan:  # fmt: skip
    """The first plan: a kernel for every group of units, in the order of their last nodes, and a tensor for every
    value that stays in memory; nothing is tiled or placed yet. Reshapes and views make no kernel."""
    kernels: list[PlannedKernel] = []
    groups = tuple(groups)
    units = tuple(unit for group in groups for unit in group)
    for group in groups:
        head = group[0].head
        if views.in_place(head.name) or (isinstance(head.op, Reshape) and not _copies(network, group[0])):
            continue
        kernel = kernel_of(network, group)
        kernels.append(replace(kernel, name=f"k{len(kernels):02d}_{_words(kernel.nodes[-1])}"))
    tensors = {i.name: PlannedTensor(i.name, i.type, base="input", index=n) for n, i in enumerate(network.inputs)}
    kept = [*(k.output for k in kernels), *views.joins]
    tensors |= {name: PlannedTensor(name, network.types[name]) for name in kept if name not in views.views}
    aliases = _reshape_aliases(network, units)
    plan = Plan(network.name, target, network.inputs, network.outputs, tuple(kernels), tensors, aliases, views)
    for index, output in enumerate(network.outputs):
        root = plan.root(output.value)
        tensors[root] = PlannedTensor(root, network.types[root], base="output", index=index)
    return plan


def _reshape_aliases(network: Network, units: tuple[Unit, ...]) -> dict[str, str]:
    """Reshapes that are their input's memory under another shape: value -> the value it shares."""
    return {u.output: u.head.inputs[0] for u in units if isinstance(u.head.op, Reshape) and not _copies(network, u)}


def _copies(network: Network, unit: Unit) -> bool:
    """A reshape has to copy where both sides belong to the caller: where an output would be an input's memory or
    another output's."""
    outputs = {o.value for o in network.outputs}
    if unit.output not in outputs:
        return False
    root = unit.head.inputs[0]
    while (node := network.by_name.get(root)) is not None and isinstance(node.op, Reshape):
        root = node.inputs[0]
    shared = _reshapes_of(network, root) - {unit.output}
    return root in {i.name for i in network.inputs} or bool(outputs & shared)


def _reshapes_of(network: Network, root: str) -> set[str]:
    """`root` and every value that is it under another shape."""
    found = {root}
    for node in network.nodes:
        if isinstance(node.op, Reshape) and node.inputs[0] in found:
            found.add(node.name)
    return found


def _words(node: Node) -> str:
    return re.sub(r"[^a-z0-9]+", "_", node.origin.row.lower()).strip("_")[:24] or node.op.name


def only_readers(network: Network, units: tuple[Unit, ...]) -> dict[str, Unit]:
    """Value -> the unit that reads it, of the values that nothing else needs."""
    outputs = {o.value for o in network.outputs}
    return {
        value: unit
        for unit in units
        for value in unit.inputs
        if len(network.users[value]) == 1 and value not in outputs
    }


def shuffles_before_depthwise(network: Network, units: tuple[Unit, ...], reader: dict[str, Unit]) -> dict[str, Unit]:
    """Output of a depthwise unit -> the shuffle whose channels it alone reads."""
    found = ((reader.get(unit.output), unit) for unit in units if _is_shuffle(unit))
    return {
        after.output: unit
        for after, unit in found
        if after is not None and after.is_convolution and after.head.inputs[0] == unit.output
        if _is_depthwise(network, after)
    }


def group_units(network: Network, units: tuple[Unit, ...], target: Target) -> list[tuple[Unit, ...]]:
    """Units that become one kernel together."""
    by_output = {u.output: u for u in units}
    reader = only_readers(network, units)
    pairs = {u.output: p for u in units if (p := _pair(network, u, reader)) is not None}
    claimed = {pair[-1].output for pair in pairs.values()}
    groups: dict[str, tuple[Unit, ...]] = {u.output: (u,) for u in units}
    for unit in units:
        group = _extended(pairs.get(unit.output, (unit,)), by_output, groups, claimed, reader)
        while sum(u.is_convolution for u in group) > 1 and not _worth(network, group, target):
            group = _shortened(group, unit)
        pool = reader.get(unit.output)
        alone = sum(u.is_convolution for u in group) == 1 and unit.output not in claimed
        if alone and pool is not None and pools(network, unit, pool):
            group = (*group, pool)
        if len(group) > 1:
            for member in group[:-1]:
                groups.pop(member.output, None)  # a shuffle went with its reader already
            groups[group[-1].output] = group
    order = {u.output: i for i, u in enumerate(units)}
    return _joined(network, sorted(groups.values(), key=lambda g: order[g[-1].output]), reader, target)


def _joined(
    network: Network, groups: list[tuple[Unit, ...]], reader: dict[str, Unit], target: Target
) -> list[tuple[Unit, ...]]:
    """The groups, those made one between which a tensor would lie that the L2 cache does not hold."""
    joined: dict[str, tuple[Unit, ...]] = {}
    for group in groups:
        value = group[0].head.inputs[0]
        before = joined.get(value)
        if before is not None and reader.get(value) is group[0] and _joins(network, before, group, target):
            del joined[value]
            group = (*before, *group)
        joined[group[-1].output] = group
    return list(joined.values())


def _joins(network: Network, before: tuple[Unit, ...], group: tuple[Unit, ...], target: Target) -> bool:
    """True where both are chains of several stages that take no longer as one."""
    image = network.types[before[-1].output]
    if image.bytes // image.shape[0] <= LARGE_SHARE * target.l2 or before[-1].residual is not None:
        return False
    if any(sum(u.is_convolution for u in g) < 2 or not g[-1].is_convolution for g in (before, group)):
        return False
    whole, *parts = (kernel_of(network, g).spec for g in ((*before, *group), before, group))
    assert isinstance(whole, Chain)
    fast = as_fast_joined(whole, [part for part in parts if isinstance(part, Chain)], target)
    return fast and _worth(network, (*before, *group), target)


def _extended(
    group: tuple[Unit, ...],
    by_output: dict[str, Unit],
    groups: dict[str, tuple[Unit, ...]],
    claimed: set[str],
    reader: dict[str, Unit],
) -> tuple[Unit, ...]:
    """The group with the shuffle in front of it and, before a depthwise unit, the convolution in front of that, with a
    shuffle of its own."""
    first, pair = group[0], len(group) == 2
    if not (pair or _is_pointwise(first)):
        return group
    before = by_output.get(first.head.inputs[0])
    if before is not None and _is_shuffle(before) and reader.get(before.output) is first:
        group = (before, *group)
        before = by_output.get(before.head.inputs[0])
    if pair and before is not None and before.output not in claimed and _leads(before, group[0], reader):
        group = (*groups[before.output], *group)
    return group


def _shortened(group: tuple[Unit, ...], depthwise: Unit) -> tuple[Unit, ...]:
    """The group without its leading convolution; where it has none, the depthwise unit alone."""
    convolutions = [number for number, unit in enumerate(group) if unit.is_convolution]
    return group[convolutions[0] + 1 :] if len(convolutions) > 2 else (depthwise,)


def _pair(network: Network, unit: Unit, reader: dict[str, Unit]) -> tuple[Unit, Unit] | None:
    """A depthwise unit and the pointwise one that alone reads it."""
    after = reader.get(unit.output)
    if after is None or unit.residual is not None or not _is_depthwise(network, unit):
        return None
    return (unit, after) if _is_pointwise(after) and after.head.inputs[0] == unit.output else None


def _is_shuffle(unit: Unit) -> bool:
    return isinstance(unit.head.op, ChannelShuffle) and len(unit.nodes) == 1


def _leads(before: Unit, unit: Unit, reader: dict[str, Unit]) -> bool:
    """True where `before` is a convolution that only the shuffled or depthwise `unit` reads."""
    plain = isinstance(before.head.op, Conv2d) and before.residual is None
    return plain and reader.get(before.output) is unit


def _is_depthwise(network: Network, unit: Unit) -> bool:
    op = unit.head.op
    if isinstance(op, Depthwise):
        return op.multiplier == 1
    channels = network.types[unit.head.inputs[0]].shape[-1]
    return isinstance(op, Conv2d) and 1 < op.groups == channels == op.channels


def _is_pointwise(unit: Unit) -> bool:
    op = unit.head.op
    return isinstance(op, Conv2d) and (op.kernel, op.stride, op.padding) == ((1, 1), (1, 1), NO_PADS)


def pools(network: Network, unit: Unit, pool: Unit) -> bool:
    """True where `pool` is nothing but the mean over all pixels of a pointwise unit."""
    op = pool.head.op
    mean = isinstance(op, GlobalPool) and op.kind == "avg" and len(pool.nodes) == 1
    return mean and _is_pointwise(unit) and unit.residual is None


def _worth(network: Network, group: tuple[Unit, ...], target: Target) -> bool:
    """True where two threads compute little twice. Inputs from other kernels will have the borders that are wanted."""
    spec = kernel_of(network, group).spec
    assert isinstance(spec, Chain)
    if group[0].head.inputs[0] not in {i.name for i in network.inputs}:
        spec = replace(spec, input_pads=spec.wanted_pads)
    tiles: ChainTiles = choose_tiles(spec, target)
    return executed_macs(spec, tiles, tasks=2) <= (1 + RECOMPUTED) * spec.macs


def kernel_of(network: Network, group: tuple[Unit, ...]) -> PlannedKernel:
    """The kernel that units become together; its name is still missing."""
    nodes = tuple(n for u in group for n in u.nodes)
    batch = nodes[-1].type.shape[0]
    if not any(u.is_convolution for u in group):
        return _plain_kernel(network, group[0], batch)
    shuffles = {after.output: op.groups for u, after in pairwise(group) if isinstance(op := u.head.op, ChannelShuffle)}
    convolutions = tuple(u for u in group if u.is_convolution)
    last, pool = convolutions[-1], not group[-1].is_convolution
    chain = _chain(network, convolutions, pool, shuffles)
    inputs = [group[0].head.inputs[0]]
    if last.residual is not None:
        inputs.append(last.residual)
    folded = batch > 1 and _is_pixel(chain) and _lines_up(network, nodes)
    if folded:
        chain = replace(chain, width=batch, stages=tuple(replace(s, width=batch) for s in chain.stages))
    return PlannedKernel(
        name="",
        spec=chain,
        nodes=nodes,
        sources=tuple(StageSource(u.head, u.norm) for u in convolutions),
        inputs=tuple(inputs),
        output=nodes[-1].name,
        images=1 if folded else batch,
    )


def _is_pixel(chain: Chain) -> bool:
    """True where an image is one pixel and no window or pool would see its neighbours in a row of them."""
    return (chain.height, chain.width) == (1, 1) and not chain.pool and all(s.pointwise for s in chain.stages)


def _lines_up(network: Network, nodes: tuple[Node, ...]) -> bool:
    """True where the images of a batch of vectors lie without a gap, so that they can be one row of pixels: those of
    the caller always do, those in the workspace where they fill whole lines, in float16 too."""
    ends = {i.name for i in network.inputs} | {o.value for o in network.outputs}
    values = (nodes[0].inputs[0], nodes[-1].name)
    lines = 2 * FLOATS_PER_LINE
    return all(network.types[v].shape[-1] % lines == 0 or ends & _reshapes_of(network, v) for v in values)


def _chain(network: Network, units: tuple[Unit, ...], pool: bool, shuffles: Mapping[str, int]) -> Chain:
    """The chain of some convolutions; `shuffles`: output of a unit -> groups of the shuffle in front of it."""
    shape = network.types[units[0].head.inputs[0]].shape[1:]
    height, width, channels = shape if len(shape) == 3 else (1, 1, shape[0])
    stages = tuple(replace(_stage(network, u), shuffle=shuffles.get(u.output, 1)) for u in units)
    last = units[-1]
    dense = len(stages) == 1 and stages[0].pointwise and stages[0].kind == "conv" and stages[0].groups == 1
    flat = dense and (pool or height * width <= FEW_PIXELS)
    if flat:
        height, width = 1, height * width
        stages = (replace(stages[0], height=height, width=width),)
    return Chain(
        height=height,
        width=width,
        channels=channels,
        stages=stages,
        residual=last.residual is not None,
        residual_first=last.residual_first,
        pool=pool,
    )


def _stage(network: Network, unit: Unit) -> Stage:
    op = unit.head.op
    shape = unit.head.type.shape[1:]
    height, width, channels = shape if len(shape) == 3 else (1, 1, shape[0])
    if isinstance(op, Dense):
        return Stage("conv", height, width, channels, activation=unit.activation)
    assert isinstance(op, Conv2d | Depthwise)
    depthwise = _is_depthwise(network, unit)
    groups = 1 if depthwise else op.groups if isinstance(op, Conv2d) else network.types[unit.head.inputs[0]].shape[-1]
    return Stage(
        kind="depthwise" if depthwise else "conv",
        height=height,
        width=width,
        channels=channels,
        kernel=op.kernel,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=groups,
        activation=unit.activation,
    )


def _plain_kernel(network: Network, unit: Unit, batch: int) -> PlannedKernel:
    inputs = unit.inputs
    made = {n.name: i for i, n in enumerate(unit.nodes)}
    ops = tuple(
        PlainOp(n.op, tuple(made[v] if v in made else -1 - inputs.index(v) for v in n.inputs)) for n in unit.nodes
    )
    return PlannedKernel(
        name="",
        spec=Plain(tuple(network.types[v].shape[1:] for v in inputs), ops),
        nodes=unit.nodes,
        sources=tuple(StageSource(n) for n in unit.nodes),
        inputs=inputs,
        output=unit.output,
        images=batch,
    )
