"""`mncc verify`: every output through the C interface, and every kernel through the same objects, against the twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.requests import NetworkRun, Request
from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.verify import TOLERANCES, Comparison, VerifyReport, compare
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import GpuJob, Job
from mncc.verbs.loading import CannotRun, check_device, placed
from mncc.verbs.operands import Values, interior, kernel_run
from mncc.verbs.pictures import load_pictures, picture_input

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.devices.requests import Place
    from mncc.network.graph import Network
    from mncc.plan import Plan


def verify(
    job: Job | GpuJob, pictures: Sequence[Path], progress: Progress, device: Device | None = None
) -> VerifyReport:
    """Runs a random input and every picture through the library on `device` (this machine if None) and its twin.
    Each kernel runs alone, on the twin's values rounded to float32, so that an error shows where it is made.

    The twin has the weights as the library holds them; where their type rounds them, what that changes is reported
    too. Of a library for several targets, the kernels of each are verified that the device can run. Raises
    DiagnosticError, UsageError, OutsideError.
    """
    if isinstance(job, GpuJob):
        from mncc.verbs.verify_gpu import verify_gpu

        return verify_gpu(job, pictures, progress, device)
    if not job.within:
        return _verify(job, pictures, progress, device)
    reports = []
    for number, target in enumerate(job.within):
        try:
            reports.append(_verify(replace(job, target=target, forced=True), pictures, progress, device))
        except (CannotRun, UsageError) as error:
            if not reports and number + 1 == len(job.within):
                raise
            warn(f"the kernels for {target.name} are not verified: {error}")
    return _joined(reports)


def _joined(reports: Sequence[VerifyReport]) -> VerifyReport:
    """One report of what several targets' kernels got, whose names say which."""

    def named(kind: str) -> tuple[Comparison, ...]:
        return tuple(replace(c, name=f"{c.name}, {r.target}") for r in reports for c in getattr(r, kind))

    targets = ", ".join(report.target for report in reports)
    return replace(
        reports[0], target=targets, outputs=named("outputs"), kernels=named("kernels"), rounded=named("rounded")
    )


def _verify(job: Job, pictures: Sequence[Path], progress: Progress, device: Device | None) -> VerifyReport:
    from mncc.devices.process import Local
    from mncc.plan import rewrite
    from mncc.reference import Twin

    where = device or Local()
    check_device(job, where)
    network = job.network
    plan = job.plan()
    weights = job.held_weights()
    cases = [random_inputs(network), *picture_cases(job, pictures)]
    planned = rewrite(network)
    wanted = {o.value for o in network.outputs}
    wanted |= {plan.root(name) for kernel in plan.kernels for name in (*kernel.inputs, kernel.output)}
    found: dict[str, Comparison] = {}
    with placed(job, progress, where, probe=True) as place:
        progress("computing the twin in torch")
        twin, planned_twin = Twin(network, weights), Twin(planned, weights)
        as_given = Twin(network, job.weights) if weights is not job.weights else None
        for number, inputs in enumerate(cases):
            progress("comparing with torch", number / len(cases))
            values = twin.run(inputs, dtype="float64", keep=wanted & set(network.types))
            if planned is not network:
                # Kernels for what the plan added have no value in the network itself.
                values = planned_twin.run(inputs, dtype="float64", keep=wanted) | values
            given = as_given.run(inputs, dtype="float64", keep={o.value for o in network.outputs}) if as_given else None
            for comparison in _compare(job.network, plan, place, inputs, values, given):
                keep_worst(found, comparison)
    said = "a random input" + (f" and {plural(len(pictures), 'picture')}" if pictures else "")
    target = job.target.name if isinstance(where, Local) else f"{job.target.name} on {where.name}"
    kinds = [tuple(c for c in found.values() if c.what == what) for what in ("output", "kernel", "weights as given")]
    return VerifyReport(job.name, target, said, *kinds)


def picture_cases(job: Job | GpuJob, pictures: Sequence[Path]) -> Iterator[list[np.ndarray]]:
    """Every picture as the inputs of a run; a batch holds the same picture several times."""
    if pictures:
        input = picture_input(job.network)
        for array in load_pictures(pictures, input):
            yield [np.broadcast_to(array, input.type.shape).copy()]


def keep_worst(found: dict[str, Comparison], new: Comparison) -> None:
    """Of several inputs, the largest errors count; NaN is the largest of all."""
    key = f"{new.what} {new.name}"
    old = found.setdefault(key, new)
    largest, median = (float(np.maximum(getattr(old, of), getattr(new, of))) for of in ("largest", "median"))
    found[key] = replace(old, largest=largest, median=median)


def _compare(
    network: Network, plan: Plan, place: Place, inputs: Sequence[np.ndarray], values: Values, given: Values | None
) -> Iterator[Comparison]:
    """One input: every output, also with the values of the weights as they were `given`, then every kernel alone.
    Requests are made one at a time, as the place takes them."""
    answers = place.answers(_requests(plan, inputs, values))
    of_output, of_kernel = TOLERANCES[plan.precision.values]
    for output, got in zip(network.outputs, next(answers).outputs, strict=True):
        yield replace(compare("output", output.name, got, values[output.value]), tolerance=of_output)
        if given is not None:
            yield compare("weights as given", output.name, got, given[output.value])
    for kernel in plan.kernels:
        twin = values[plan.root(kernel.output)]
        dtype = plan.tensor(kernel.output).dtype
        images = [next(answers).outputs[0].view(dtype) for _ in range(kernel.images)]
        got = np.stack([interior(plan, kernel.output, image) for image in images]).reshape(twin.shape)
        comparison = compare("kernel", kernel.name, got, twin, "; ".join(kernel.rows))
        if any(not _rest_is_right(plan, kernel.output, image) for image in images):
            comparison = replace(comparison, largest=float("inf"))
        yield replace(comparison, tolerance=of_kernel)


def _requests(plan: Plan, inputs: Sequence[np.ndarray], values: Values) -> Iterator[Request]:
    """A run of the network, then every kernel for every image."""
    yield NetworkRun(tuple(inputs))
    for number, kernel in enumerate(plan.kernels):
        for call in range(kernel.images):
            yield kernel_run(plan, number, kernel, values, call)


def _rest_is_right(plan: Plan, value: str, memory: np.ndarray) -> bool:
    """True where the kernel wrote the zeros around its output that the next one relies on, and nothing between its
    pixels but zeros, nor anything at all where that belongs to other kernels."""
    rest = memory.copy()
    if plan.root(value) in plan.views.views:
        interior(plan, value, rest)[...] = np.nan
        return bool(np.isnan(rest).all())
    interior(plan, value, rest)[...] = 0
    tensor = plan.tensor(value)
    if tensor.spare:
        pitch = tensor.type.shape[-1] + tensor.spare
        rest = rest.reshape(-1, pitch)[:, : tensor.type.shape[-1]]
    return not rest.any()
