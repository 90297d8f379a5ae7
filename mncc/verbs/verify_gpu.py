"""`mncc verify` for GPUs: every output of the library, on this machine's GPU, against the twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.devices.requests import NetworkRun
from mncc.report.numbers import plural
from mncc.report.progress import Progress
from mncc.report.verify import Comparison, VerifyReport, compare
from mncc.verbs.inputs import random_inputs
from mncc.verbs.job import GpuJob
from mncc.verbs.loading import on_gpu
from mncc.verbs.verify import keep_worst, picture_cases

if TYPE_CHECKING:
    from mncc.devices.device import Device


def verify_gpu(job: GpuJob, pictures: Sequence[Path], progress: Progress, device: Device | None = None) -> VerifyReport:
    """A random input and every picture, through the library and its twin. Kernels are not run alone.

    Raises DiagnosticError, UsageError, OutsideError.
    """
    from mncc.devices.process import Local
    from mncc.reference import Twin

    cases = [random_inputs(job.network), *picture_cases(job, pictures)]
    found: dict[str, Comparison] = {}
    with on_gpu(job, progress, device or Local()) as place:
        progress("computing the twin in torch")
        twin = Twin(job.network, job.weights)
        for number, inputs in enumerate(cases):
            progress("comparing with torch", number / len(cases))
            values = twin.run(inputs, dtype="float64", keep={o.value for o in job.network.outputs})
            (answer,) = place.answers([NetworkRun(tuple(inputs))])
            for output, got in zip(job.network.outputs, answer.outputs, strict=True):
                keep_worst(found, compare("output", output.name, got, values[output.value]))
    said = "a random input" + (f" and {plural(len(pictures), 'picture')}" if pictures else "")
    targets = ", ".join(target.name for target in job.targets)
    return VerifyReport(job.name, targets, said, tuple(found.values()), ())
