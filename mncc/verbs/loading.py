"""A job's library, compiled or found in the cache, written to a folder of its own and loaded: here, or on a device."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.language.diagnostic import DiagnosticError, OutsideError
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled, compiled_gpu
from mncc.verbs.job import GpuJob, Job, as_usage

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.devices.here import Here
    from mncc.devices.requests import Place
    from mncc.library.cuda_spec import CudaSpec
    from mncc.library.write import LibraryFiles


class CannotRun(OutsideError):
    """The processor lacks instructions that the kernels need."""


@contextmanager
def placed(job: Job | GpuJob, progress: Progress, device: Device, probe: bool = False) -> Iterator[Place]:
    """Where the job's library answers requests, for the length of the block; `probe` allows those for single kernels.

    Raises DiagnosticError, UsageError where the device cannot run the target, OutsideError. A library that refuses to
    run inside of the block (a CPU without its instructions) is an OutsideError too."""
    from mncc.devices.process import Local

    if isinstance(job, GpuJob):
        with on_gpu(job, progress, device) as here:
            yield here
        return
    if isinstance(device, Local):
        with loaded(job, progress, probe) as here:
            yield here
        return
    check_device(job, device)
    progress(f"reaching {device.name}")
    # First: a device that is not there shall be told before the work.
    with device.open(job.target) as session, _written(job, progress, True, f"on {device.name}") as files:
        from mncc.devices.loaded import Interface
        from mncc.devices.runner import Remote, build_runner
        from mncc.library.toolchain import find_toolchain

        runner = build_runner(job.name, files, job.target, find_toolchain(job.target.triple, job.cc), files.directory)
        progress(f"sending the program to {device.name}")
        session.send(runner, runner.name, program=True)
        outputs = tuple(Interface(o.name, job.network.types[o.value].shape) for o in job.network.outputs)
        number = job.within.index(job.target) if job.forced else None
        progress(f"running on {device.name}")
        yield Remote(session, device, job.target, job.name, outputs, number)


@contextmanager
def loaded(job: Job, progress: Progress, probe: bool = False) -> Iterator[Here]:
    """The same in this process. Raises as `placed` does."""
    from mncc.devices.here import Here
    from mncc.devices.loaded import Library, Probe
    from mncc.devices.process import Local

    check_device(job, Local())
    with _written(job, progress, probe or job.forced) as files:
        loaded_probe = Probe(files.probe) if files.probe else None
        if job.forced and loaded_probe is not None and files.probe is not None:
            # The probe is the whole library too, and alone can be told what to run.
            loaded_probe.select(job.within.index(job.target))
            with Library(files.probe, probe=True) as library:
                yield Here(library, loaded_probe)
        else:
            with Library(files.shared) as library:
                yield Here(library, loaded_probe)


@contextmanager
def on_gpu(job: GpuJob, progress: Progress, device: Device) -> Iterator[Here]:
    """A library for GPUs on this machine's first one, loaded in this process. Raises as `placed` does."""
    from mncc.devices.here import Here
    from mncc.devices.loaded import Library

    with written_for_gpu(job, progress, device) as (_, files), Library(files.shared) as library:
        yield Here(library)


@contextmanager
def written_for_gpu(
    job: GpuJob, progress: Progress, device: Device, probe: bool = False
) -> Iterator[tuple[CudaSpec, LibraryFiles]]:
    """The job's library in a folder for the length of the block, inside of which a RunError becomes an OutsideError."""
    from mncc.devices.loaded import RunError
    from mncc.library.cuda_write import write_cuda_library
    from mncc.library.nvcc import find_nvcc

    check_device(job, device)
    nvcc = find_nvcc()
    spec, fatbin = compiled_gpu(job, nvcc, progress)
    progress("linking the library")
    with tempfile.TemporaryDirectory(prefix="mncc-", ignore_cleanup_errors=True) as folder:
        files = write_cuda_library(spec, Path(folder, job.name), nvcc=nvcc, fatbin=fatbin, probe=probe)
        try:
            yield spec, files
        except RunError as error:
            raise OutsideError(f"the library does not run here: {error}") from error


def check_device(job: Job | GpuJob, device: Device) -> None:
    """Raises UsageError where the device cannot run the job's target, OutsideError where a tool for it is missing."""
    if isinstance(job, GpuJob):
        from mncc.devices.gpu import check_driver
        from mncc.devices.process import Local

        if not isinstance(device, Local):
            raise UsageError(f"--device {device.name}: only GPUs of this machine can be reached so far", "leave it out")
        return check_driver()
    try:
        device.check(job.target)
    except DiagnosticError as error:
        raise as_usage(f"--device {device.name} with --target {job.target.name}", error) from error


@contextmanager
def _written(job: Job, progress: Progress, probe: bool, where: str = "here") -> Iterator[LibraryFiles]:
    """The job's library in a folder for the length of the block, inside of which a RunError becomes an OutsideError."""
    from mncc.devices.loaded import NO_CPU, RunError
    from mncc.library.toolchain import find_toolchain
    from mncc.library.write import write_library

    find_toolchain(job.target.triple, job.cc)
    spec = compiled(job, progress)
    progress("linking the library")
    with tempfile.TemporaryDirectory(prefix="mncc-", ignore_cleanup_errors=True) as folder:
        try:
            yield write_library(spec, Path(folder, job.name), cc=job.cc, probe=probe)
        except RunError as error:
            help = f"`mncc targets` lists others than {job.target.name}"
            kind = CannotRun if error.status == NO_CPU else OutsideError
            raise kind(f"the library does not run {where}: {error}", help) from error
