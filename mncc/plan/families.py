"""Pass on the plan: convolutions that another family computes faster go to that family."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.chain import Chain
from mncc.kernels.winograd_cost import faster
from mncc.plan.model import Plan, PlannedKernel


def choose_families(plan: Plan) -> Plan:
    """The plan with Winograd convolutions where these are faster than direct ones; none in float16, which its
    transforms would leave with few right digits."""
    if plan.precision.values != "float32":
        return plan
    return replace(plan, kernels=tuple(_chosen(kernel, plan) for kernel in plan.kernels))


def _chosen(kernel: PlannedKernel, plan: Plan) -> PlannedKernel:
    if not isinstance(kernel.spec, Chain):
        return kernel
    spec = faster(kernel.spec, plan.target)
    return kernel if spec is kernel.spec else replace(kernel, spec=spec)
