"""`mncc verify` for GPUs: every output of the library and every kernel alone, on this machine's GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.verify import TOLERANCES, Comparison, VerifyReport, compare
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import GpuJob
from mncc.verbs.loading import check_device, written_for_gpu
from mncc.verbs.operands import Values
from mncc.verbs.verify import keep_worst, picture_cases

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.devices.gpu import GpuProbe
    from mncc.library.cuda_spec import CudaArgument, CudaSpec
    from mncc.plan import Plan
    from mncc.plan.model import PlannedTensor


def verify_gpu(job: GpuJob, pictures: Sequence[Path], progress: Progress, device: Device | None = None) -> VerifyReport:
    """A random input and every picture, through the library and its twin; each kernel also alone, on the twin's values
    rounded to the type of their tensors. Where the weights are rounded when they are stored, the twin has them so, and
    what that changes is reported too.

    Raises DiagnosticError, UsageError, OutsideError.
    """
    from mncc.devices.gpu import GpuProbe
    from mncc.devices.loaded import Library
    from mncc.devices.process import Local
    from mncc.plan import rewrite
    from mncc.reference import Twin

    device = device or Local()
    check_device(job, device)
    network, plan, planned, weights = job.network, job.plan(), rewrite(job.network), job.held_weights()
    of_output, of_kernel = TOLERANCES[plan.precision.values]
    cases = [random_inputs(network), *picture_cases(job, pictures)]
    wanted = {plan.root(name) for kernel in plan.kernels for name in (*kernel.inputs, kernel.output)}
    wanted |= {o.value for o in network.outputs}
    found: dict[str, Comparison] = {}
    with (
        written_for_gpu(job, progress, device, probe=True) as (spec, files),
        Library(files.shared) as library,
        Library(str(files.probe), probe=True) as whole,
    ):
        probe = GpuProbe(whole.path, whole.name, whole.device_handle())
        progress("computing the twin in torch")
        twin, planned_twin = Twin(network, weights), Twin(planned, weights)
        as_given = Twin(network, job.weights) if weights is not job.weights else None
        ends = {o.value for o in network.outputs}
        for number, inputs in enumerate(cases):
            progress("comparing with torch", number / len(cases))
            values = planned_twin.run(inputs, dtype="float64", keep=wanted)
            values |= twin.run(inputs, dtype="float64", keep=wanted & set(network.types))
            given = as_given.run(inputs, dtype="float64", keep=ends) if as_given else None
            for output, got in zip(network.outputs, library.run(*inputs), strict=True):
                comparison = compare("output", output.name, got, values[output.value])
                keep_worst(found, replace(comparison, tolerance=of_output))
                if given is not None:
                    keep_worst(found, compare("weights as given", output.name, got, given[output.value]))
            for comparison in _kernels(plan, spec, probe, values):
                keep_worst(found, replace(comparison, tolerance=of_kernel))
    said = "a random input" + (f" and {plural(len(pictures), 'picture')}" if pictures else "")
    targets = ", ".join(target.name for target in job.targets)
    kinds = [tuple(c for c in found.values() if c.what == what) for what in ("output", "kernel", "weights as given")]
    return VerifyReport(job.name, targets, said, *kinds)


def _kernels(plan: Plan, spec: CudaSpec, probe: GpuProbe, values: Values) -> Iterator[Comparison]:
    """Every kernel alone, with the launches it has."""
    for kernel in plan.kernels:
        tensors = {plan.tensor(value).name: plan.tensor(value) for value in kernel.values}
        memory = {name: np.full(-(-t.bytes // t.each), np.nan, t.dtype) for name, t in tensors.items()}
        for value in kernel.inputs:
            inside = _inside(plan, memory, value)
            inside[...] = values[plan.root(value)].reshape(inside.shape)
        for number, launch in enumerate(spec.launches):
            if launch.name == kernel.name:
                given = [_given(argument, tensors, memory) for argument in launch.arguments]
                probe.launch(number, [array for array, _ in given], [start for _, start in given])
        twin = values[plan.root(kernel.output)]
        got = _inside(plan, memory, kernel.output).reshape(twin.shape)
        yield compare("kernel", kernel.name, got, twin, "; ".join(kernel.rows))


def _given(
    argument: CudaArgument, tensors: Mapping[str, PlannedTensor], memory: Mapping[str, np.ndarray]
) -> tuple[np.ndarray | None, int]:
    """The memory that an argument points into, and how far; None for the weights."""
    if argument.base == "weights":
        return None, 0
    for name, tensor in tensors.items():
        start = argument.offset - tensor.offset
        if (tensor.base, tensor.index) == (argument.base, argument.index) and 0 <= start < tensor.bytes:
            return memory[name], start
    raise AssertionError(f"{argument} is in no tensor of its kernel")


def _inside(plan: Plan, memory: Mapping[str, np.ndarray], value: str) -> np.ndarray:
    """A value in the memory of its tensor, as a view: the whole batch, in the shape of the tensor, its own channels."""
    tensor, (_, start) = plan.tensor(value), plan.storage(value)
    assert not tensor.spare and not any(map(any, tensor.pads)), f"{value} has borders, which GPUs' tensors have not"
    count, *shape = tensor.type.shape
    images = memory[tensor.name].reshape(count, -1)[:, : tensor.image_bytes // tensor.each]
    whole = images.reshape(count, *shape)
    assert np.shares_memory(whole, memory[tensor.name])
    view = plan.views.views.get(plan.root(value))
    return whole[..., start : start + view.channels] if view else whole


