"""Pass on the plan: tensors get zero borders in memory where the chains that read them would else pad a copy."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.chain import NO_PADS, Chain
from mncc.network.window import Pads
from mncc.plan.model import Plan, PlannedKernel

MOST_GROWTH = 3
"""A tensor never grows by more than this through its borders: a far dilation's reader copies what it needs."""


def add_borders(plan: Plan) -> Plan:
    """The plan with borders around every workspace tensor that chains alone make and read and one wants padded."""
    pads = {name: _wanted(plan, name) for name in plan.tensors}
    if all(p == NO_PADS for p in pads.values()):
        return plan
    tensors = {name: replace(t, pads=pads[name]) for name, t in plan.tensors.items()}
    return replace(plan, kernels=tuple(_with_borders(k, pads) for k in plan.kernels), tensors=tensors)


def _wanted(plan: Plan, name: str) -> Pads:
    makers = [k for k in plan.kernels if k.output == name]
    readers = [k for k in plan.kernels if name in k.inputs]
    shared = plan.is_aliased(name) or any(v.whole == name for v in plan.views.views.values())
    if plan.tensors[name].base != "workspace" or not makers or shared:
        return NO_PADS
    if not all(_keeps_rows(k, name) for k in (*makers, *readers)):
        return NO_PADS
    wanted = NO_PADS
    for kernel in readers:
        assert isinstance(kernel.spec, Chain)
        if kernel.inputs[0] == name:
            wanted = _largest(wanted, kernel.spec.wanted_pads)
    plain = plan.tensors[name]
    return wanted if replace(plain, pads=wanted).image_bytes <= MOST_GROWTH * plain.image_bytes else NO_PADS


def _keeps_rows(kernel: PlannedKernel, name: str) -> bool:
    """True where the kernel sees the tensor as rows of pixels and can step over borders."""
    spec, shape = kernel.spec, kernel.output_type.shape
    if not isinstance(spec, Chain) or spec.pool or len(shape) != 4:
        return False
    picture = (spec.last.height, spec.last.width) == shape[1:3]
    return picture and kernel.images_per_call == 1


def _largest(a: Pads, b: Pads) -> Pads:
    (t, bo), (le, r) = (tuple(max(x, y) for x, y in zip(p, q, strict=True)) for p, q in zip(a, b, strict=True))
    return (t, bo), (le, r)


def _with_borders(kernel: PlannedKernel, pads: dict[str, Pads]) -> PlannedKernel:
    if not isinstance(kernel.spec, Chain):
        return kernel
    chain = replace(
        kernel.spec,
        input_pads=pads.get(kernel.inputs[0], NO_PADS),
        residual_pads=pads.get(kernel.inputs[1], NO_PADS) if kernel.spec.residual else NO_PADS,
        output_pads=pads.get(kernel.output, NO_PADS),
    )
    return kernel if chain == kernel.spec else replace(kernel, spec=chain)
