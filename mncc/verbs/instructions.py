"""`mncc bench --device qemu`: instructions instead of time, since an emulator's time says nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mncc.language.diagnostic import DiagnosticError
from mncc.report.failures import UsageError
from mncc.report.instructions import InstructionReport, Instructions, KernelInstructions
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job, as_usage, require_one_target

if TYPE_CHECKING:
    from mncc.devices.counting import LibraryCount
    from mncc.devices.device import Device
    from mncc.report.bench import BenchReport


def bench_or_count(
    job: Job,
    threads: Sequence[int],
    engines: Sequence[str],
    profile: bool,
    progress: Progress,
    peer_python: Path | None,
    device: Device,
) -> BenchReport | InstructionReport:
    """Times, or on qemu instructions. Raises as `bench` and `count_instructions` do."""
    from mncc.devices.qemu import Qemu
    from mncc.verbs.bench import bench

    require_one_target(job)
    if isinstance(device, Qemu):
        return count_instructions(job, threads, engines, profile, progress)
    return bench(job, threads, engines, profile, progress, peer_python=peer_python, device=device)


def count_instructions(
    job: Job, threads: Sequence[int], engines: Sequence[str], profile: bool, progress: Progress
) -> InstructionReport:
    """Counts a run of the job's library on one thread. Raises UsageError for more threads and other engines, and where
    qemu has nothing for the target; DiagnosticError, OutsideError."""
    from mncc.devices.counting import count_library, emulator_version, find_emulator
    from mncc.library.write import write_library

    if tuple(threads) != (1,):
        raise UsageError("--device qemu: instructions are counted on one thread", "leave --threads out")
    if engines:
        help = "leave --against out; `python -m bench.arm64` counts other engines"
        raise UsageError("--device qemu: only mncc's own instructions are counted", help)
    try:
        emulator = find_emulator(job.target)
    except DiagnosticError as error:
        raise as_usage(f"--device qemu with --target {job.target.name}", error) from error
    spec = compiled(job, progress)
    with tempfile.TemporaryDirectory(prefix="mncc-", ignore_cleanup_errors=True) as folder:
        progress("linking the library")
        files = write_library(spec, Path(folder, job.name), cc=job.cc)
        progress("counting instructions")
        counted = count_library(files.directory, job.name, job.target, cc=job.cc)
    lanes = job.plan().target.lanes
    kernels = kernel_instructions(spec.manifest["kernels"], counted, lanes)
    return InstructionReport(
        network=job.name,
        target=job.target.name,
        cpu=job.target.emulated,
        emulator=f"qemu-user {emulator_version(emulator)}",
        whole=whole_instructions(job.network.macs, counted, lanes),
        profile=kernels if profile else (),
        settings=dict(job.network.settings),
        weights=job.weights.source,
    )


def whole_instructions(macs: int, counted: LibraryCount, lanes: int) -> Instructions:
    """A run of a network with so many multiply-adds, of which an instruction does `lanes`."""
    return Instructions(macs, counted.whole.total, macs / lanes, counted.whole.classes)


def kernel_instructions(
    entries: Sequence[Mapping[str, Any]], counted: LibraryCount, lanes: int
) -> tuple[KernelInstructions, ...]:
    """The kernels, which a manifest has as `entries`, most excess first."""
    kernels = [
        KernelInstructions(
            entry["name"],
            tuple(entry["rows"]),
            Instructions(entry["macs"], count.total, entry["macs"] / lanes, count.classes),
        )
        for entry, count in zip(entries, counted.kernels, strict=True)
    ]
    return tuple(sorted(kernels, key=lambda kernel: -kernel.counted.excess))
