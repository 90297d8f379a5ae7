"""Pass on the plan: kernels that compute in float16, and tensors of it between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mncc.kernels.chain import Chain
from mncc.kernels.precision import StoredType
from mncc.plan.model import Plan, PlannedKernel


def compute_in_half(plan: Plan) -> Plan:
    """The plan with float16 in the workspace; what belongs to the caller stays float32, and the first and last kernels
    convert as they read and write. Chains multiply in float16, plain kernels compute in float32 between the two."""
    if plan.precision.values == "float32":
        return plan
    tensors = {n: replace(t, dtype="float16") if t.base == "workspace" else t for n, t in plan.tensors.items()}
    plan = replace(plan, tensors=tensors)
    return replace(plan, kernels=tuple(_in_half(plan, kernel) for kernel in plan.kernels))


def _in_half(plan: Plan, kernel: PlannedKernel) -> PlannedKernel:
    *inputs, output = (plan.tensor(value).dtype for value in (*kernel.inputs, kernel.output))
    if not isinstance(kernel.spec, Chain):
        return replace(kernel, spec=replace(kernel.spec, input_dtypes=tuple(inputs), output_dtype=output))
    return replace(kernel, spec=half_chain(kernel.spec, inputs, output))


def half_chain(chain: Chain, inputs: Sequence[StoredType], output: StoredType) -> Chain:
    """The chain that multiplies in float16; the types are those of the tensors that it reads and writes."""
    return replace(
        chain,
        weights_dtype="float16",
        dtype="float16",
        input_dtype=inputs[0],
        residual_dtype=inputs[1] if chain.residual else "float32",
        output_dtype=output,
    )
