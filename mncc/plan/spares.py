"""Pass on the plan: how far apart the pixels of every tensor lie in memory."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.chain import Chain
from mncc.kernels.tiles import spread
from mncc.plan.model import Plan, PlannedKernel


def spread_pixels(plan: Plan) -> Plan:
    """The plan with workspace tensors spread over the sets of the L1 cache where products read them, and on x86 where
    windows do, whose rows of 512 or 1024 channels push each other out: MobileNetV1's kernels of these take 1 to 3 %
    less on Zen 4. Elsewhere nothing was measured, and addresses of windows are more instructions. See `tell_spares`."""
    tensors, windows = dict(plan.tensors), plan.target.inputs == "memory"
    for name in {plan.storage(k.inputs[0])[0] for k in plan.kernels if _spreads(k, windows)}:
        tensor = tensors[name]
        shape = tensor.type.shape
        if tensor.base == "workspace" and len(shape) == 4 and shape[1] * shape[2] > 1 and not plan.is_aliased(name):
            tensors[name] = replace(tensor, spare=spread(shape[-1]) - shape[-1])
    return tell_spares(replace(plan, tensors=tensors))


def tell_spares(plan: Plan) -> Plan:
    """The plan with every kernel told how far apart the pixels of its tensors lie."""
    kernels = tuple(_with_spares(plan, k) for k in plan.kernels)
    return plan if kernels == plan.kernels else replace(plan, kernels=kernels)


def _spreads(kernel: PlannedKernel, windows: bool) -> bool:
    """True where the first stage is a product over the channels, or with `windows` a depthwise one, read straight from
    the tensor."""
    spec = kernel.spec
    if not isinstance(spec, Chain) or kernel.images_per_call > 1:
        return False
    return spec.stages[0].kind == "conv" or (windows and not spec.copies_input)


def _with_spares(plan: Plan, kernel: PlannedKernel) -> PlannedKernel:
    *inputs, output = (plan.spare(value) for value in (*kernel.inputs, kernel.output))
    if not any((*inputs, output)):
        return kernel
    if isinstance(kernel.spec, Chain):
        residual = inputs[1] if kernel.spec.residual else 0
        chain = replace(kernel.spec, input_spare=inputs[0], output_spare=output, residual_spare=residual)
        return replace(kernel, spec=chain)
    return replace(kernel, spec=replace(kernel.spec, input_spares=tuple(inputs), output_spare=output))
