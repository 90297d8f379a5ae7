"""`mncc emit`: what a stage of the compiler made, as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from mncc.report.failures import UsageError
from mncc.verbs.job import find_machine, load_network
from mncc.verbs.precision import find_precision

if TYPE_CHECKING:
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.kernels.precision import Precision
    from mncc.kernels.target import Target
    from mncc.network.graph import Network
    from mncc.plan import Plan

Stage = Literal["tree", "network", "plan", "tir", "llvm", "asm", "cuda"]
STAGES: tuple[str, ...] = get_args(Stage)


def emit(
    path: str | Path,
    stage: str,
    settings: Mapping[str, str] | None = None,
    target: str = "native",
    weights: str | None = None,
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
) -> str:
    """The text of one stage, without a line break at its end. Weights, where given, are checked against the network;
    no stage depends on their values. Raises DiagnosticError, UsageError, OutsideError."""
    text = _text(path, stage, settings or {}, target, (weights_dtype, dtype), tuned).rstrip("\n")
    if weights is not None:
        from mncc.weights import load_weights

        load_weights(load_network(path, settings or {}), weights)
    return text


def _text(
    path: str | Path,
    stage: str,
    settings: Mapping[str, str],
    target: str,
    dtypes: tuple[str, str],
    tuned: str | Path | None,
) -> str:
    if stage not in STAGES:
        raise UsageError(f"--stage {stage}: there is no such stage", f"write one of {', '.join(STAGES)}")
    if stage == "tree":
        from mncc.language import parse, read_source, show_tree

        return show_tree(parse(read_source(path)))
    if stage == "network":
        from mncc.elaborate import show_network

        return show_network(load_network(path, settings))
    found = find_machine(target)
    precision = find_precision(*dtypes, found)
    if stage != "plan":
        _check_stage(found, stage)
    from mncc.plan import show_plan

    plan = _plan(load_network(path, settings), found, precision, tuned)
    if stage == "plan":
        return show_plan(plan)
    from mncc.verbs.compile import emit_stage

    return emit_stage(plan, stage)


def _plan(
    network: Network, machine: Target | GpuTarget, precision: Precision, tuned: str | Path | None
) -> Plan:
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.plan import make_plan
    from mncc.verbs.tuned import find_tuned, refuse_for_gpus, warn_of_misfits

    if isinstance(machine, GpuTarget):
        refuse_for_gpus(tuned)
        return make_plan(network, machine, precision)
    tables = find_tuned(tuned, (machine,))
    plan = make_plan(network, machine, precision, tables[machine.name].tiles() if tables else {})
    warn_of_misfits(plan)
    return plan


def _check_stage(machine: Target | GpuTarget, stage: str) -> None:
    """Raises UsageError where a target's kernels never have that form."""
    from mncc.kernels.gpu_target import GpuTarget

    gpu = isinstance(machine, GpuTarget)
    if gpu and stage in ("llvm", "asm"):
        raise UsageError(f"--stage {stage}: {machine.name} is a GPU, whose kernels nvcc compiles", "write --stage cuda")
    if not gpu and stage == "cuda":
        raise UsageError(f"--stage cuda: {machine.name} is a CPU", "name a GPU, for example --target cuda-sm80")
