"""Pass on the plan: how far apart the pixels of every tensor lie in memory."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.chain import Chain
from mncc.kernels.tiles import SHARED_SETS, spread
from mncc.plan.model import Plan, PlannedKernel

SHARED_SETS_OF_WINDOWS = 1024
"""Bytes: pixels of windows that lie this far apart, or a multiple of it, push each other out of the L1 cache."""


def spread_pixels(plan: Plan) -> Plan:
    """The plan with workspace tensors spread over the sets of the L1 cache where products read them, and on x86 where
    windows do: MobileNetV1's depthwise stages of 256 to 1024 channels take 15 to 40 % less on Zen 4. Elsewhere nothing
    was measured, and addresses of windows become more instructions. See `tell_spares`."""
    tensors = dict(plan.tensors)
    for name, bytes_apart in _shared_sets(plan).items():
        tensor = tensors[name]
        shape = tensor.type.shape
        if tensor.base == "workspace" and len(shape) == 4 and shape[1] * shape[2] > 1 and not plan.is_aliased(name):
            tensors[name] = replace(tensor, spare=spread(shape[-1], bytes_apart) - shape[-1])
    return tell_spares(replace(plan, tensors=tensors))


def tell_spares(plan: Plan) -> Plan:
    """The plan with every kernel told how far apart the pixels of its tensors lie."""
    kernels = tuple(_with_spares(plan, k) for k in plan.kernels)
    return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _shared_sets(plan: Plan) -> dict[str, int]:
    """Of the tensors that a chain's first stage reads straight, how many bytes apart their pixels should not lie."""
    found: dict[str, int] = {}
    for kernel in plan.kernels:
        spec = kernel.spec
        if not isinstance(spec, Chain) or kernel.images_per_call > 1:
            continue
        name = plan.storage(kernel.inputs[0])[0]
        if plan.target.inputs == "memory" and spec.stages[0].kernel != (1, 1) and not spec.copies_input:
            found[name] = SHARED_SETS_OF_WINDOWS
        elif spec.stages[0].kind == "conv":
            found.setdefault(name, SHARED_SETS)
    return found


def _with_spares(plan: Plan, kernel: PlannedKernel) -> PlannedKernel:
    *inputs, output = (plan.spare(value) for value in (*kernel.inputs, kernel.output))
    if not any((*inputs, output)):
        return kernel
    if isinstance(kernel.spec, Chain):
        residual = inputs[1] if kernel.spec.residual else 0
        chain = replace(kernel.spec, input_spare=inputs[0], output_spare=output, residual_spare=residual)
        return replace(kernel, spec=chain)
    return replace(kernel, spec=replace(kernel.spec, input_spares=tuple(inputs), output_spare=output))
