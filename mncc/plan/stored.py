"""Pass on the plan: how kernels store their weights; and what weights become by that."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mncc.kernels.chain import Chain
from mncc.language.diagnostic import Diagnostic, DiagnosticError, Label
from mncc.network.graph import Node
from mncc.plan.model import Plan, PlannedKernel, StageSource
from mncc.plan.pack import Tensors, fold_norm, norm_scale

LARGEST, SMALLEST = (float(value) for value in (np.finfo(np.float16).max, np.finfo(np.float16).smallest_normal))


@dataclass(frozen=True)
class WeightsPastHalf(Diagnostic):
    """A convolution whose weights, its norm folded in, lie outside of what float16 can hold."""

    node: Node
    largest: float
    """The largest absolute weight."""

    @property
    def title(self) -> str:
        held = f"float16 ends at {LARGEST:g}"
        if self.largest <= LARGEST:
            held = f"float16 holds numbers below {SMALLEST:.1e} with fewer digits or not at all"
        return f"the weights of `{self.node.name}` reach {self.largest:.3g} with their norm folded in, and {held}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.node.origin.span, "the row of these weights"),)

    @property
    def help(self) -> str:
        return "build with --weights-dtype float32, or look into the file: trained weights lie far from either end"


def store_weights(plan: Plan) -> Plan:
    """The plan with the stored type in every chain. Winograd's transformed weights stay float32: rounded to float16
    behind the transform of F(4x4, 3x3) they would cost six times the error of rounded weights themselves. So does what
    plain kernels have, a few numbers a channel."""
    if plan.precision.weights == "float32":
        return plan
    return replace(plan, kernels=tuple(_stored(kernel, plan) for kernel in plan.kernels))


def _stored(kernel: PlannedKernel, plan: Plan) -> PlannedKernel:
    if type(kernel.spec) is not Chain:
        return kernel
    return replace(kernel, spec=replace(kernel.spec, weights_dtype=plan.precision.weights))


def stored_tensors(plan: Plan, tensors: Tensors) -> Tensors:
    """The network's tensors as the plan's kernels hold them: the same, but for kernels that are rounded when they are
    stored. Folded with their norms as the plan does it, these give the stored numbers; in float64, for the norm is
    taken out again. Raises DiagnosticError as check_stored does."""
    check_stored(plan, tensors)
    held = dict(tensors)
    for kernel, source in _rounded(plan):
        name = source.node.name
        folded = fold_norm(source, tensors, kernel.weights_dtype)["kernel"].astype(np.float64)
        scale = norm_scale(source, tensors)
        flat = folded.reshape(-1, scale.size)
        # A channel that its norm multiplies by 0 is 0 whatever its weights are.
        apart = np.divide(flat, scale, out=np.zeros_like(flat), where=scale != 0)
        held[name, "kernel"] = apart.reshape(folded.shape)
    return held


def check_stored(plan: Plan, tensors: Tensors) -> None:
    """Raises DiagnosticError for convolutions whose weights the stored type cannot hold: one is past its largest
    number, or all lie below its smallest normal one."""
    found = []
    for _, source in _rounded(plan):
        largest = float(np.max(np.abs(fold_norm(source, tensors)["kernel"]), initial=0.0))
        if largest > LARGEST or 0 < largest < SMALLEST:
            found.append(WeightsPastHalf(source.node, largest))
    if found:
        raise DiagnosticError(found)


def _rounded(plan: Plan) -> list[tuple[PlannedKernel, StageSource]]:
    """Every convolution whose weights are stored in less than float32, with its kernel."""
    return [(k, source) for k in plan.kernels if k.weights_dtype != "float32" for source in k.sources]
