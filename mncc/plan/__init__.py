"""Network -> Plan: what is fused, how it is tiled, where everything lies."""

from mncc.plan.model import Plan, PlannedKernel, PlannedTensor, check_plan
from mncc.plan.pack import kernel_arrays, pack_weights
from mncc.plan.pipeline import make_plan, rewrite
from mncc.plan.show import show_plan
from mncc.plan.stored import stored_tensors

__all__ = [
    "Plan",
    "PlannedKernel",
    "PlannedTensor",
    "check_plan",
    "kernel_arrays",
    "make_plan",
    "pack_weights",
    "rewrite",
    "show_plan",
    "stored_tensors",
]
