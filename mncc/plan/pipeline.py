"""Network -> Plan: the passes in their order, the invariants checked between them."""

from __future__ import annotations

from mncc.kernels.target import Target
from mncc.network.graph import Network, check_network
from mncc.plan.borders import add_borders
from mncc.plan.ends import separate_ends
from mncc.plan.fuse import fuse, reshape_aliases
from mncc.plan.model import Plan, PlannedTensor, check_plan, check_values
from mncc.plan.place import choose_tiles, place_tensors, place_weights
from mncc.plan.units import find_units

PASSES = (add_borders, choose_tiles, place_weights, place_tensors)
"""From the fused kernels on: Plan -> Plan."""


def make_plan(network: Network, target: Target) -> Plan:
    """The plan for one target. No TVM is loaded. Raises AssertionError where a pass breaks an invariant."""
    check_network(network)
    network = separate_ends(network)
    check_network(network)
    plan = _fused(network, target)
    check_values(plan)
    for step in PASSES:
        plan = step(plan)
        check_values(plan)
    check_plan(plan)
    return plan


def _fused(network: Network, target: Target) -> Plan:
    """Units, kernels, and a tensor for every value that stays in memory, nothing placed yet."""
    units = find_units(network)
    kernels = fuse(network, units, target)
    aliases = reshape_aliases(network, units)
    plan = Plan(network.name, target, network.inputs, network.outputs, kernels, {}, aliases)
    tensors = {i.name: PlannedTensor(i.name, i.type, base="input", index=n) for n, i in enumerate(network.inputs)}
    for kernel in kernels:
        tensors[kernel.output] = PlannedTensor(kernel.output, network.types[kernel.output])
    for index, output in enumerate(network.outputs):
        root = plan.root(output.value)
        tensors[root] = PlannedTensor(root, network.types[root], base="output", index=index)
    return Plan(network.name, target, network.inputs, network.outputs, kernels, tensors, aliases)
