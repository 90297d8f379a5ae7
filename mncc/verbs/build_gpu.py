"""`mncc build` for GPUs: a network as a library in a folder, its kernels compiled by nvcc."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.target import gpu_targets
from mncc.report.build import BuildReport
from mncc.report.progress import Progress
from mncc.verbs.build import check_writable, sizes, warn_of_weights
from mncc.verbs.cache import compiled_gpu
from mncc.verbs.job import GpuJob


def build_gpu(job: GpuJob, output: Path | None, progress: Progress) -> BuildReport:
    """As `build` for CPUs. Raises OutsideError where there is no nvcc, or it does not know an architecture, too."""
    from mncc.library.cuda_spec import CudaSpec
    from mncc.library.cuda_write import write_cuda_library
    from mncc.library.folder import check_replaceable
    from mncc.library.nvcc import find_nvcc
    from mncc.library.toolchain import find_toolchain, machine_of

    began = time.monotonic()
    directory = Path("build", job.name) if output is None else output
    # What would fail at the end fails before the work.
    check_replaceable(directory)
    check_writable(directory)
    triple = machine_of(job.cc) if job.cc else CudaSpec.triple  # a compiler that is named says for which host
    find_toolchain(triple, job.cc)
    nvcc = find_nvcc()
    nvcc.check([target.architecture for target in job.targets])
    warn_of_weights(job)
    spec, fatbin = compiled_gpu(job, nvcc, progress)
    progress("linking the library")
    spec = replace(spec, triple=triple)
    write_cuda_library(spec, directory, cc=job.cc, nvcc=nvcc, fatbin=fatbin)
    return BuildReport(
        network=job.name,
        target=", ".join(target.name for target in job.targets),
        directory=directory,
        files=tuple(sizes(directory)),
        kernels=len(spec.launches),
        weights=job.weights.source,
        weights_bytes=spec.weights.nbytes,
        workspace_bytes=spec.workspace_bytes,
        seconds=time.monotonic() - began,
        workspace_of="a handle on the device",
        note=too_small(job.targets, max(launch.shared_bytes for launch in spec.launches)),
    )


def too_small(targets: Sequence[GpuTarget], shared_bytes: int) -> str:
    """A line on the GPUs that could run PTX of these targets, but whose blocks cannot have so much shared memory; empty
    where there are none."""
    others = [gpu for gpu in gpu_targets() if gpu.generation >= targets[0].generation]
    lacking = [gpu for gpu in others if gpu.block_shared < shared_bytes]
    if not lacking:
        return ""
    names = " and ".join(gpu.name for gpu in lacking)
    return (
        f"a block takes up to {shared_bytes / 1024:.0f} KiB of shared memory, more than {names} "
        f"{'has' if len(lacking) == 1 else 'have'}: `--target {targets[0].name},{lacking[0].name}` is for all of them"
    )
