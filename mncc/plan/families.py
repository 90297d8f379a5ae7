"""Pass on the plan: convolutions that another family computes faster go to that family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mncc.kernels import strassen_cost, winograd_cost
from mncc.kernels.chain import Chain
from mncc.kernels.target import Target
from mncc.plan.model import Plan, PlannedKernel


def choose_families(plan: Plan) -> Plan:
    """The plan with Winograd convolutions where these are faster than direct ones; none in float16, which its
    transforms would leave with few right digits."""
    return _with_families(plan, winograd_cost.faster)


def choose_products(plan: Plan) -> Plan:
    """The plan with Strassen's products where these are faster; none in float16. Behind the pass that gives inputs the
    borders that they need."""
    return _with_families(plan, strassen_cost.faster)


def _with_families(plan: Plan, faster: Callable[[Chain, Target], Chain]) -> Plan:
    if plan.precision.values != "float32":
        return plan
    return replace(plan, kernels=tuple(_chosen(kernel, plan, faster) for kernel in plan.kernels))


def _chosen(kernel: PlannedKernel, plan: Plan, faster: Callable[[Chain, Target], Chain]) -> PlannedKernel:
    if not isinstance(kernel.spec, Chain):
        return kernel
    spec = faster(kernel.spec, plan.target)
    return kernel if spec is kernel.spec else replace(kernel, spec=spec)
