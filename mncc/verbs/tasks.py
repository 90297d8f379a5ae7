"""What of a job can be tuned: its kernels, with their inputs in a run, their weights, and what the twin expects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.requests import Operand
from mncc.kernels.chain import Chain
from mncc.kernels.tunable import Tunable
from mncc.report.progress import Progress
from mncc.report.verify import TOLERANCES
from mncc.tuning.task import ANYTHING, UNTOUCHED, Task
from mncc.verbs.inputs import random_inputs
from mncc.verbs.operands import Values, interior, kernel_run

if TYPE_CHECKING:
    from mncc.plan import Plan, PlannedKernel
    from mncc.verbs.job import Job
    from mncc.weights import Weights


def tasks_of(job: Job, progress: Progress | None = None) -> tuple[Task, ...]:
    """A task for every spec that has tiles to choose, in the order the network's kernels run. Raises DiagnosticError
    for weights that their stored type cannot hold."""
    plan, weights = job.plan(), job.held_weights()
    kernels: dict[Chain, list[PlannedKernel]] = {}
    for kernel in plan.kernels:
        if isinstance(kernel.spec, Chain):
            kernels.setdefault(kernel.spec, []).append(kernel)
    if progress:
        progress("computing in torch what is expected of the kernels")
    values = _values(job, plan, weights, [same[0] for same in kernels.values()])
    return tuple(
        replace(_task(plan, same[0], values, weights), times=sum(kernel.images for kernel in same))
        for same in kernels.values()
    )


def _values(job: Job, plan: Plan, weights: Weights, kernels: list[PlannedKernel]) -> Values:
    """What the twin computes of a random input, in float64: all that these kernels read and make."""
    from mncc.plan import rewrite
    from mncc.reference import Twin

    network, planned = job.network, rewrite(job.network)
    wanted = {plan.root(name) for kernel in kernels for name in (*kernel.inputs, kernel.output)}
    inputs = random_inputs(network)
    values = Twin(network, weights).run(inputs, dtype="float64", keep=wanted & set(network.types))
    if planned is network:
        return values
    # Kernels for what the plan added have no value in the network itself.
    return Twin(planned, weights).run(inputs, dtype="float64", keep=wanted) | values


def _task(plan: Plan, kernel: PlannedKernel, values: Values, weights: Weights) -> Task:
    from mncc.plan import kernel_arrays

    spec, tiles = kernel.spec, kernel.tiles
    assert isinstance(spec, Chain) and isinstance(tiles, Tunable)
    operands = kernel_run(plan, 0, kernel, values, 0).tensors
    return Task(
        name=kernel.name,
        spec=spec,
        target=plan.target,
        default=tiles,
        inputs=operands[: len(kernel.inputs)],
        output=Operand(operands[-1].nbytes, operands[-1].start),
        arrays=kernel_arrays(kernel, weights.tensors),
        expected=_expected(plan, kernel, values),
        tolerance=TOLERANCES[plan.precision.values][1],
        aligned=tuple(plan.is_aligned(value) for value in (*kernel.inputs, kernel.output)),
    )


def _expected(plan: Plan, kernel: PlannedKernel, values: Values) -> np.ndarray:
    """The output's memory after the kernel, for the first image: zeros around the value. What belongs to other kernels
    is untouched; what lies between pixels and is nobody's is anything."""
    count, name = kernel.images_per_call, kernel.output
    tensor, part = plan.tensor(name), plan.root(name) in plan.views.views
    memory = np.full(tensor.image_bytes * count // tensor.each, UNTOUCHED if part else 0.0)
    if tensor.spare and not part:
        pitch = tensor.type.shape[-1] + tensor.spare
        memory.reshape(-1, pitch)[:, tensor.type.shape[-1] :] = ANYTHING
    inside = interior(plan, name, memory)
    inside[...] = values[plan.root(name)][:count].reshape(inside.shape)
    return memory
