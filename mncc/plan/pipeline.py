"""Network -> Plan: the passes in their order, the invariants checked between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.half import in_half
from mncc.kernels.precision import FULL, Precision
from mncc.kernels.target import Target
from mncc.network.graph import Network, check_network
from mncc.plan.ahead import look_ahead
from mncc.plan.borders import add_borders
from mncc.plan.concats import activate_parts, own_parts, split_concats
from mncc.plan.ends import separate_ends
from mncc.plan.families import choose_families, choose_products
from mncc.plan.fuse import fuse, group_units
from mncc.plan.gpu import choose_gpu_families, group_for_gpu, prices, reads_again
from mncc.plan.half import compute_in_half
from mncc.plan.model import Plan, Tiles, check_plan, check_values
from mncc.plan.place import choose_tiles, place_tensors, place_weights, share_between_phases
from mncc.plan.spares import spread_pixels, tell_spares
from mncc.plan.stored import store_weights
from mncc.plan.units import find_units
from mncc.plan.views import find_views

NETWORK_PASSES = (separate_ends, activate_parts, own_parts, split_concats)
"""Network -> Network: what kernels cannot express is rewritten in operators that they can."""

PLAN_PASSES = (
    choose_families,
    store_weights,
    compute_in_half,
    add_borders,
    spread_pixels,
    choose_products,
    choose_tiles,
    share_between_phases,
    place_weights,
    look_ahead,
    place_tensors,
)
"""Plan -> Plan, behind `fuse`, which makes the first plan from the network's units."""


NOTHING_TUNED: Mapping[Any, Tiles] = MappingProxyType({})


def rewrite(network: Network) -> Network:
    """The network as it is planned; the same object where no pass has to change it. Its inputs and outputs, and every
    node that has weights, keep their names."""
    check_network(network)
    for step in NETWORK_PASSES:
        network = step(network)
        check_network(network)
    return network


GPU_PASSES = (
    choose_gpu_families,
    compute_in_half,
    tell_spares,
    choose_tiles,
    share_between_phases,
    place_weights,
    place_tensors,
)
"""The same for GPUs: no borders, because threads leave out what is outside; a second phase is a second launch."""


def make_plan(
    network: Network,
    target: Target | GpuTarget,
    precision: Precision = FULL,
    tuned: Mapping[Any, Tiles] = NOTHING_TUNED,
) -> Plan:
    """The plan for one target; for a GPU the first that moves its bytes no more than three times, where a byte counts
    more from one to the next. `tuned` are tiles by specs, which kernels have before those of the cost model; they
    decide nothing else. No TVM is loaded. Raises AssertionError where a pass breaks an invariant."""
    if precision.values == "float16" and isinstance(target, Target):
        target = in_half(target)
    network = rewrite(network)
    if isinstance(target, Target):
        return _planned(network, target, precision, tuned)
    plans = []
    for priced in prices(target):
        plans.append(_planned(network, priced, precision, tuned))
        if not reads_again(plans[-1]):
            return plans[-1]
    return plans[0]


def _planned(
    network: Network, target: Target | GpuTarget, precision: Precision, tuned: Mapping[Any, Tiles]
) -> Plan:  # fmt: skip
    """All passes, once."""
    views = find_views(network)
    units = find_units(network, views)
    if isinstance(target, GpuTarget):
        groups = group_for_gpu(network, units, target, precision)
    else:
        groups = group_units(network, units, target)
    plan = replace(fuse(network, groups, views, target), precision=precision, tuned=tuned)
    check_values(plan)
    for step in GPU_PASSES if isinstance(target, GpuTarget) else PLAN_PASSES:
        plan = step(plan)
        check_values(plan)
    check_plan(plan)
    return plan
