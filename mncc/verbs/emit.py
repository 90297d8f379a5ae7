"""`mncc emit`: what a stage of the compiler made, as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from mncc.report.failures import UsageError
from mncc.verbs.job import find_stored, find_target, load_network, prepare

Stage = Literal["tree", "network", "plan", "tir", "llvm", "asm"]
STAGES: tuple[str, ...] = get_args(Stage)


def emit(
    path: str | Path,
    stage: str,
    settings: Mapping[str, str] | None = None,
    target: str = "native",
    weights: str | None = None,
    weights_dtype: str = "float32",
) -> str:
    """The text of one stage, without a line break at its end. Weights, where given, are checked against the network;
    no stage depends on their values. Raises DiagnosticError, UsageError, OutsideError."""
    text = _text(path, stage, settings or {}, target, weights_dtype).rstrip("\n")
    if weights is not None:
        prepare(path, settings or {}, target, weights, weights_dtype=weights_dtype)
    return text


def _text(path: str | Path, stage: str, settings: Mapping[str, str], target: str, weights_dtype: str) -> str:
    if stage == "cuda":
        raise UsageError("--stage cuda: all targets are CPUs", f"write one of {', '.join(STAGES)}")
    if stage not in STAGES:
        raise UsageError(f"--stage {stage}: there is no such stage", f"write one of {', '.join(STAGES)}")
    if stage == "tree":
        from mncc.language import parse, read_source, show_tree

        return show_tree(parse(read_source(path)))
    if stage == "network":
        from mncc.elaborate import show_network

        return show_network(load_network(path, settings))
    found = find_target(target)
    stored = find_stored(weights_dtype, found)
    if stage == "plan":
        from mncc.plan import make_plan, show_plan

        return show_plan(make_plan(load_network(path, settings), found, stored))
    from mncc.verbs.compile import emit_stage

    return emit_stage(load_network(path, settings), found, stage, stored)
