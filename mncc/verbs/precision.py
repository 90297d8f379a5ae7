"""What --weights-dtype and --dtype say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from mncc.kernels.precision import FULL, Precision, StoredType
from mncc.report.failures import UsageError

if TYPE_CHECKING:
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.kernels.target import Target


def find_precision(weights_dtype: str, dtype: str, target: Target | GpuTarget) -> Precision:
    """The types of a library; computed in float16, weights are float16 too. Raises UsageError where there is no such
    type, or the target lacks the instructions for it."""
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.kernels.target import cpu_targets

    for option, name in (("--weights-dtype", weights_dtype), ("--dtype", dtype)):
        if name not in get_args(StoredType):
            raise UsageError(f"{option} {name}: there is no such type", "write float32 or float16")
    if isinstance(target, GpuTarget):
        return _of_gpu(weights_dtype, dtype, target)
    if dtype == "float16":
        able = [other for other in cpu_targets() if other.computes_half]
        _require("--dtype float16", "instructions that compute in float16", target, able)
        return Precision("float16", "float16")
    if weights_dtype == "float16":
        able = [other for other in cpu_targets() if other.converts_half]
        _require("--weights-dtype float16", "instructions that convert float16", target, able)
        return Precision("float16")
    return FULL


def _of_gpu(weights_dtype: str, dtype: str, target: GpuTarget) -> Precision:
    """All of a kernel is of one type: tensor cores multiply float16 with float16."""
    if weights_dtype == "float16" and dtype == "float32":
        why = f"kernels for {target.name} multiply float32 with float32, or float16 with float16"
        raise UsageError(f"--weights-dtype float16: {why}", "write --dtype float16, or leave it out")
    return Precision("float16", "float16") if dtype == "float16" else FULL


def _require(option: str, what: str, target: Target, able: Sequence[Target]) -> None:
    """Raises UsageError where the target is not among those that are able."""
    if target not in able:
        names = ", ".join(other.name for other in able)
        raise UsageError(f"{option}: {target.name} has no {what}", f"leave it out, or build for one of {names}")
