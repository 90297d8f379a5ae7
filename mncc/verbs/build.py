"""`mncc build`: a network as a library in a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mncc.language.diagnostic import OutsideError
from mncc.report.build import BuildReport
from mncc.report.console import warn
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job


def build(job: Job, output: Path | None, progress: Progress) -> BuildReport:
    """Writes the job's library to `output` (build/NAME if None), which it replaces as a whole or leaves as it was.

    Raises DiagnosticError for a folder that holds somebody's files, OutsideError without a compiler or space.
    """
    from mncc.library.folder import check_replaceable
    from mncc.library.toolchain import find_toolchain
    from mncc.library.write import write_library

    began = time.monotonic()
    directory = Path("build", job.name) if output is None else output
    # What would fail at the end fails before the work.
    check_replaceable(directory)
    _check_writable(directory)
    find_toolchain(job.target.triple, job.cc)
    warn_of_weights(job)
    spec = compiled(job, progress)
    progress("linking the library")
    written = write_library(spec, directory, cc=job.cc)
    return BuildReport(
        network=job.name,
        target=job.target.name,
        directory=written.directory,
        files=tuple((path.name, path.stat().st_size) for path in sorted(written.directory.iterdir())),
        kernels=len(spec.kernels),
        weights=job.weights.source,
        weights_bytes=spec.weights.nbytes,
        workspace_bytes=spec.tensor_bytes + spec.scratch_bytes,
        seconds=time.monotonic() - began,
    )


def warn_of_weights(job: Job) -> None:
    """Says on standard error what is odd about the weights; that they are random, above all."""
    if job.random:
        warn(f"{job.name} gets random weights ({job.weights.source}): its answers mean nothing; see --weights")
    for text in job.weights.warnings:
        warn(text)


def _check_writable(directory: Path) -> None:
    """Raises OutsideError where the folder, or what it would be made in, cannot be written."""
    absolute = Path(os.path.realpath(directory))
    above = next(path for path in absolute.parents if path.exists())
    if not above.is_dir():
        raise OutsideError(f"cannot write the folder {directory}: {above} is a file", "name another folder with -o")
    if not os.access(above, os.W_OK):
        help = "name a folder with -o that can be written"
        raise OutsideError(f"cannot write the folder {directory}: {above} is not writable", help)
