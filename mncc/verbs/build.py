"""`mncc build`: a network as a library in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mncc.language.diagnostic import OutsideError
from mncc.report.build import BuildReport
from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import GpuJob, Job


def build(job: Job | GpuJob, output: Path | None, progress: Progress, objects: bool = False) -> BuildReport:
    """Writes the job's library to `output` (build/NAME if None), which it replaces as a whole or leaves as it was.

    `objects` leaves what another toolchain finishes, and needs no compiler. Raises UsageError where the job names
    one all the same, DiagnosticError for a folder that holds somebody's files, OutsideError without compiler or space.
    """
    from mncc.library.folder import check_replaceable
    from mncc.library.toolchain import find_toolchain
    from mncc.library.write import write_library, write_objects

    if isinstance(job, GpuJob):
        if objects:
            raise UsageError("--emit-objects is for CPUs so far", "name the compiler of the machine with --cc")
        from mncc.verbs.build_gpu import build_gpu

        return build_gpu(job, output, progress)
    if objects and job.cc is not None:
        raise UsageError("--emit-objects compiles no C, so --cc has nothing to do", "leave one of them out")
    began = time.monotonic()
    directory = Path("build", job.name) if output is None else output
    # What would fail at the end fails before the work.
    check_replaceable(directory)
    check_writable(directory)
    if not objects:
        find_toolchain(job.target.triple, job.cc)
    warn_of_weights(job)
    spec = compiled(job, progress)
    progress("writing the objects" if objects else "linking the library")
    if objects:
        write_objects(spec, directory)
    else:
        write_library(spec, directory, cc=job.cc)
    return BuildReport(
        network=job.name,
        target=", ".join(target.name for target in job.targets),
        directory=directory,
        files=tuple(sizes(directory)),
        kernels=sum(len(of.kernels) for of in spec.sets),
        tuned=job.tuned_kernels(),
        counted=job.tuned_kernels("instructions"),
        weights=job.weights.source,
        weights_bytes=spec.weights.nbytes,
        workspace_bytes=spec.tensor_bytes + spec.scratch_bytes,
        seconds=time.monotonic() - began,
    )


def sizes(directory: Path) -> Iterator[tuple[str, int]]:
    """Names and bytes of what lies in a folder; a folder in it counts as a whole."""
    for path in sorted(directory.iterdir()):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        yield path.name + ("" if path.is_file() else "/"), sum(file.stat().st_size for file in files)


def warn_of_weights(job: Job | GpuJob) -> None:
    """Says on standard error what is odd about the weights; that they are random, above all."""
    if job.random:
        warn(f"{job.name} gets random weights ({job.weights.source}): its answers mean nothing; see --weights")
    for text in job.weights.warnings:
        warn(text)


def check_writable(directory: Path) -> None:
    """Raises OutsideError where the folder, or what it would be made in, cannot be written."""
    absolute = Path(os.path.realpath(directory))
    above = next(path for path in absolute.parents if path.exists())
    if not above.is_dir():
        raise OutsideError(f"cannot write the folder {directory}: {above} is a file", "name another folder with -o")
    if not os.access(above, os.W_OK):
        help = "name a folder with -o that can be written"
        raise OutsideError(f"cannot write the folder {directory}: {above} is not writable", help)
