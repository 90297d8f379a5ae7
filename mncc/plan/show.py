"""A plan as text, for `mncc emit --stage plan`."""

from __future__ import annotations

from mncc.kernels.ahead import NextRows
from mncc.kernels.family import family_of
from mncc.kernels.gpu_target import GpuTarget
from mncc.plan.model import Plan, PlannedKernel


def show_plan(plan: Plan) -> str:
    """Kernels with their stages, tiles, scratch and recomputed share, then the tensors with their places."""
    weights, values = plan.precision.weights, plan.precision.values
    lines = [
        f"plan {plan.network} for {plan.machine.name}" + (f" in {values}" if values != "float32" else ""),
        f"workspace {plan.workspace_bytes(1)} bytes: tensors {plan.tensor_bytes}, scratch {plan.scratch_bytes} a task",
        f"weights {plan.weight_bytes} bytes" + (f", {weights}" if weights != "float32" else ""),
        "",
    ]
    for kernel in plan.kernels:
        lines += _kernel(kernel, plan)
    lines += ["", "tensors"]
    for tensor in plan.tensors.values():
        place = f"workspace +{tensor.offset}" if tensor.base == "workspace" else f"{tensor.base} {tensor.index}"
        borders = "" if not any(map(any, tensor.pads)) else f" borders {tensor.pads}"
        borders += f" spare {tensor.spare}" if tensor.spare else ""
        lines.append(f"  {tensor.name}: {tensor.type}{borders} at {place}, {tensor.bytes} bytes")
    for value, root in plan.aliases.items():
        lines.append(f"  {value}: the memory of {root}")
    for value, view in plan.views.views.items():
        lines.append(f"  {value}: {view.channels} channels of {view.whole} from {view.start} on")
    return "\n".join(lines)


def _kernel(kernel: PlannedKernel, plan: Plan) -> list[str]:
    head = f"{kernel.name}: {kernel.family} ({', '.join(kernel.inputs)}) -> {kernel.output} {kernel.output_type}"
    facts = (
        f"  rows {'; '.join(kernel.rows)} | {kernel.images} x {kernel.items} items | {kernel.macs} multiply-adds, "
        f"{kernel.recomputed_share:.1%} again on two threads | scratch {kernel.scratch_bytes}"
    )
    if isinstance(plan.machine, GpuTarget):
        facts = (
            f"  rows {'; '.join(kernel.rows)} | {kernel.macs} multiply-adds, {kernel.recomputed_share:.1%} again in "
            f"neighbouring blocks | {kernel.weight_floats * 4} bytes of weights"
        )
    tuned = ", with tuned tiles" if plan.is_tuned(kernel) else ""
    lines = [head, facts, f"  {kernel.predict(plan.machine).describe()}{tuned}"]
    lines += [f"  {line}" for line in family_of(kernel.spec).describe(kernel.spec, kernel.tiles)]
    if kernel.shared:
        lines.append("    " + " then ".join(f"{phase.items} items" for phase in kernel.phases))
    for array in kernel.scratch:
        shape = f"{array.rows}x{array.cols}x{array.channels}"
        lines.append(f"    scratch {array.name}: {shape} at {array.offset * array.each}")
    return lines + _fetched(kernel)


def _fetched(kernel: PlannedKernel) -> list[str]:
    """What it fetches before it is needed, a line each."""
    ahead, lines = kernel.ahead, []
    if isinstance(ahead, NextRows):
        return [f"    prefetches its input, {ahead.floats * 4} bytes in a step"]
    if ahead is not None and ahead.own is not None:
        lines.append(f"    prefetches its own weights, {ahead.own.floats * 4} bytes at a time")
    if ahead is not None and ahead.floats:
        start, size = ahead.start - kernel.weight_floats, ahead.floats
        lines.append(f"    prefetches {size * 4} bytes of weights, {start * 4} behind its own")
    return lines
