"""`mncc verify`: every output through the C interface, and every kernel through the same objects, against the twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.verify import Comparison, VerifyReport, compare
from mncc.verbs.bench import random_inputs
from mncc.verbs.job import Job
from mncc.verbs.loading import Loaded, loaded
from mncc.verbs.pictures import load_pictures, picture_input

if TYPE_CHECKING:
    from mncc.plan import Plan
    from mncc.plan.model import PlannedKernel, PlannedTensor

Values = Mapping[str, np.ndarray]


def verify(job: Job, pictures: Sequence[Path], progress: Progress) -> VerifyReport:
    """Runs a random input and every picture through the library and its twin. Each kernel runs alone, on the twin's
    values rounded to float32, so that an error shows where it is made. Raises DiagnosticError, OutsideError."""
    from mncc.plan import make_plan, rewrite
    from mncc.reference import Twin

    network = job.network
    plan = make_plan(network, job.target)
    cases = [random_inputs(network), *_picture_cases(job, pictures)]
    planned = rewrite(network)
    wanted = {o.value for o in network.outputs}
    wanted |= {plan.root(name) for kernel in plan.kernels for name in (*kernel.inputs, kernel.output)}
    outputs: dict[str, Comparison] = {}
    kernels: dict[str, Comparison] = {}
    with loaded(job, progress, probe=True) as here:
        progress("computing the twin in torch")
        twin, planned_twin = Twin(network, job.weights), Twin(planned, job.weights)
        for number, inputs in enumerate(cases):
            progress("comparing with torch", number / len(cases))
            values = twin.run(inputs, dtype="float64", keep=wanted & set(network.types))
            if planned is not network:
                # Kernels for what the plan added have no value in the network itself.
                values = planned_twin.run(inputs, dtype="float64", keep=wanted) | values
            for output, got in zip(network.outputs, here.library.run(*inputs), strict=True):
                _keep_worst(outputs, compare("output", output.name, got, values[output.value]))
            for comparison in _compare_kernels(plan, here, values):
                _keep_worst(kernels, comparison)
    said = "a random input" + (f" and {plural(len(pictures), 'picture')}" if pictures else "")
    return VerifyReport(job.name, job.target.name, said, tuple(outputs.values()), tuple(kernels.values()))


def _picture_cases(job: Job, pictures: Sequence[Path]) -> Iterator[list[np.ndarray]]:
    """Every picture as the inputs of a run; a batch holds the same picture several times."""
    if pictures:
        input = picture_input(job.network)
        for array in load_pictures(pictures, input):
            yield [np.broadcast_to(array, input.type.shape).copy()]


def _keep_worst(found: dict[str, Comparison], new: Comparison) -> None:
    """Of several inputs, the largest errors count; NaN is the largest of all."""
    old = found.setdefault(new.name, new)
    largest, median = (float(np.maximum(getattr(old, of), getattr(new, of))) for of in ("largest", "median"))
    found[new.name] = replace(old, largest=largest, median=median)


def _compare_kernels(plan: Plan, here: Loaded, values: Values) -> Iterator[Comparison]:
    """Runs every kernel alone; its output begins as NaN, so that what it leaves out shows."""
    for number, kernel in enumerate(plan.kernels):
        twin = values[plan.root(kernel.output)]
        images = [_run_call(plan, here, number, kernel, values, call) for call in range(kernel.images)]
        got = np.stack([_interior(plan, kernel.output, image) for image in images]).reshape(twin.shape)
        comparison = compare("kernel", kernel.name, got, twin, "; ".join(kernel.rows))
        if any(not _rest_is_right(plan, kernel.output, image) for image in images):
            comparison = replace(comparison, largest=float("inf"))
        yield comparison


def _run_call(plan: Plan, here: Loaded, number: int, kernel: PlannedKernel, values: Values, call: int) -> np.ndarray:
    """One call of a kernel: one image, or the whole batch where its images are a row of pixels."""
    assert here.probe is not None, "verify loads the library with its probe"
    count = kernel.images_per_call
    tensors = []
    for name in kernel.inputs:
        buffer = _aligned(plan.tensor(name), 0.0, count)
        given = values[plan.root(name)][call * count : (call + 1) * count]
        interior = _interior(plan, name, buffer)
        interior[...] = given.reshape(interior.shape)
        tensors.append(buffer[plan.storage(name)[1] :])
    if kernel.shared is not None:
        tensors.append(_aligned(plan.tensor(kernel.shared), np.nan, count))
    output = _aligned(plan.tensor(kernel.output), np.nan, count)
    here.probe.run(number, [*tensors, output[plan.storage(kernel.output)[1] :]])
    return output


def _aligned(tensor: PlannedTensor, value: float, count: int) -> np.ndarray:
    """Memory for `count` images with their borders, 64-byte aligned, all `value`: float32, flat."""
    from mncc.devices.loaded import aligned_empty

    memory = aligned_empty(tensor.image_bytes * count).view(np.float32)
    memory.fill(value)
    return memory


def _interior(plan: Plan, value: str, memory: np.ndarray) -> np.ndarray:
    """A value in the memory of its tensor, as a view: (count, H, W, C) without borders, or (count, C)."""
    tensor, (_, start) = plan.tensor(value), plan.storage(value)
    shape = tensor.type.shape[1:]
    if len(shape) != 3:
        return memory.reshape(-1, *shape)
    (top, bottom), (left, right) = tensor.pads
    height, width, channels = shape
    pitch = channels + tensor.spare
    padded = memory.reshape(-1, height + top + bottom, width + left + right, pitch)
    own = pitch - plan.spare(value)
    return padded[:, top : top + height, left : left + width, start : start + own]


def _rest_is_right(plan: Plan, value: str, memory: np.ndarray) -> bool:
    """True where the kernel wrote the zeros around its output that the next one relies on, and nothing between its
    pixels but zeros, nor anything at all where that belongs to other kernels."""
    rest = memory.copy()
    if plan.root(value) in plan.views.views:
        _interior(plan, value, rest)[...] = np.nan
        return bool(np.isnan(rest).all())
    _interior(plan, value, rest)[...] = 0
    tensor = plan.tensor(value)
    if tensor.spare:
        pitch = tensor.type.shape[-1] + tensor.spare
        rest = rest.reshape(-1, pitch)[:, : tensor.type.shape[-1]]
    return not rest.any()
