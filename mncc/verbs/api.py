"""The verbs as Python functions: `mncc.build(...)` and its kin. They raise what the commands print:
DiagnosticError for wrong input, UsageError for wrong arguments, OutsideError where something outside failed."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.report.bench import BenchReport
from mncc.report.cost import CostReport
from mncc.report.instructions import InstructionReport
from mncc.report.progress import Progress
from mncc.report.tune import TuneReport
from mncc.report.verify import VerifyReport
from mncc.verbs import job as jobs

if TYPE_CHECKING:
    from mncc.devices.loaded import Library

Setting = float | int | str


def build(
    path: str | Path,
    target: str = "native",
    weights: str | Path = jobs.RANDOM_WEIGHTS,
    name: str | None = None,
    output: str | Path | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
    **settings: Setting,
) -> Library:
    """Compiles a .mn file and loads the library: `net = mncc.build("x.mn", weights="x.pth", width=0.75)`.

    `settings` are the network's parameters; `weights_dtype="float16"` stores weights in half the space,
    `dtype="float16"` computes in it. `tuned` is a table of tuned tiles or "none", as --tuned has it. With `output` the
    folder is written as by `mncc build -o`; else it is a temporary one that goes with the returned object. Inputs and
    outputs are float32 NHWC; see Library.
    """
    from mncc.devices.loaded import Library
    from mncc.verbs.build import build as build_folder

    job = jobs.prepare_build(path, _texts(settings), target, str(weights), name, None, weights_dtype, dtype, tuned)
    folder = None if output else Path(tempfile.mkdtemp(prefix="mncc-"))
    try:
        with Progress() as progress:
            report = build_folder(job, Path(output) if output else Path(str(folder), job.name), progress)
        library = Library(report.directory)
    except BaseException:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if folder:
        weakref.finalize(library, shutil.rmtree, folder, ignore_errors=True)
    return library


def check(path: str | Path, **settings: Setting) -> str:
    """One line on a .mn file that is right; raises DiagnosticError with all that is wrong."""
    from mncc.verbs.check import check as check_file

    return check_file(path, _texts(settings))


def cost(
    path: str | Path,
    target: str = "native",
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
    **settings: Setting,
) -> CostReport:
    """Parameters, multiply-adds, packed weights and workspace, by layer, row and kernel."""
    from mncc.verbs.cost import cost as cost_of

    return cost_of(path, _texts(settings), target, weights_dtype, dtype, tuned)


def verify(
    path: str | Path,
    target: str = "native",
    weights: str | Path = jobs.RANDOM_WEIGHTS,
    images: Sequence[str | Path] = (),
    weights_dtype: str = "float32",
    dtype: str = "float32",
    device: str = "local",
    tuned: str | Path | None = None,
    **settings: Setting,
) -> VerifyReport:
    """Errors of every output and every kernel against torch in float64; `.failed` holds those past the tolerance.

    `device` is where the library runs, as --device has it.
    """
    from mncc.verbs.verify import verify as verify_job

    job = jobs.prepare_build(path, _texts(settings), target, str(weights), None, None, weights_dtype, dtype, tuned)
    with Progress() as progress:
        return verify_job(job, [Path(image) for image in images], progress, jobs.parse_device(device))


def bench(
    path: str | Path,
    target: str = "native",
    weights: str | Path = jobs.RANDOM_WEIGHTS,
    threads: Sequence[int] = (1,),
    against: Sequence[str] = (),
    profile: bool = False,
    peer_python: str | Path | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    device: str = "local",
    tuned: str | Path | None = None,
    **settings: Setting,
) -> BenchReport | InstructionReport:
    """Times in milliseconds and as shares of the FMA peak, which is measured in the same run; with `device="qemu"`
    instructions instead, on one thread, since an emulator's time says nothing.

    `against` names other engines, and `peer_python` the interpreter that has them, where it is not this one.
    `device` is where the library runs, as --device has it; other engines only run here.
    """
    from mncc.verbs.instructions import bench_or_count

    job = jobs.prepare(path, _texts(settings), target, str(weights), None, None, weights_dtype, dtype, tuned)
    with Progress() as progress:
        python = Path(peer_python) if peer_python else None
        place = jobs.parse_device(device)
        return bench_or_count(job, threads, against, profile, progress, peer_python=python, device=place)


def tune(
    path: str | Path,
    target: str = "native",
    weights: str | Path = jobs.RANDOM_WEIGHTS,
    device: str = "local",
    trials: int | None = None,
    minutes: float | None = None,
    report: str | Path | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    **settings: Setting,
) -> TuneReport:
    """Searches the tiles of the network's kernels on `device`, as --device has it, until so many candidates were tried
    or so many minutes are over (30 if neither is given); later builds for the target use what is found. `report` is an
    HTML file that the search is drawn into."""
    from mncc.verbs.tune import parse_devices, parse_limits
    from mncc.verbs.tune import tune as tune_job

    limits, places = parse_limits(trials, minutes), parse_devices(device)
    job = jobs.prepare(path, _texts(settings), target, str(weights), None, None, weights_dtype, dtype, "none")
    return tune_job(job, places, limits, Path(report) if report else None)


def emit(
    path: str | Path,
    stage: str,
    target: str = "native",
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
    **settings: Setting,
) -> str:
    """What a stage of the compiler made, as text: tree, network, plan, tir, llvm or asm."""
    from mncc.verbs.emit import emit as emit_stage

    return emit_stage(path, stage, _texts(settings), target, weights_dtype=weights_dtype, dtype=dtype, tuned=tuned)


def _texts(settings: dict[str, Setting]) -> dict[str, str]:
    """Settings as the command line has them; Python's True and False become 1 and 0."""
    return {name: str(int(v) if isinstance(v, bool) else v) for name, v in settings.items()}
