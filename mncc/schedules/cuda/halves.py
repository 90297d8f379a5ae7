"""float16 numbers in registers, two at once (`half2`), whose arithmetic TVM does not write as CUDA."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from tvm.backend.cuda.op import cuda_func_call
from tvm.script.ir_builder import tirx as T

from mncc.kernels.gpu_tiles import OCTET
from mncc.network.ops import Activation

Expr = Any
_CLIPS = ("relu", "relu6")


def clip_of(activation: Activation | None) -> str | None:
    """The function that does on float16 numbers what the activation does: its bounds are float16 numbers, so that it
    makes no difference whether it comes before the rounding or behind. Empty for none; None for other activations."""
    if activation is None:
        return ""
    return f"half2_{activation.kind}" if activation.kind in _CLIPS else None


def multiply_halves(sums: Any, at: Expr, values: Any, value: Expr, taps: Any, tap: Expr) -> None:
    """Adds to eight float16 sums in registers, from `at` on, the products of eight values and taps in registers."""
    with T.unroll(0, OCTET // 2) as pair:
        operands = ((sums, at), (values, value), (taps, tap))
        call_cuda("half2_multiply_add", *(T.address_of(buffer[start + 2 * pair]) for buffer, start in operands))


def round_halves(
    values: Any, at: Expr, sums: Any, first: Expr, count: int, clip: str = "", most: Any = None
) -> None:  # fmt: skip
    """An even number of float32 sums in registers, from `first` on, as float16 from `at` on, clipped as `clip_of`
    said; where `most` is given, an array of two numbers, to no more than these instead."""
    relu = "_relu" if clip else ""
    with T.unroll(0, count // 2) as pair:
        pointer = T.address_of(values[at + 2 * pair])
        call_cuda(f"half2_rounded{relu}", pointer, T.address_of(sums[first + 2 * pair]))
        if most is not None:
            call_cuda("half2_at_most", pointer, T.address_of(most[0]))
        elif clip == "half2_relu6":
            call_cuda("half2_at_most_6", pointer)


def clip_halves(values: Any, first: Expr, count: int, clip: str) -> None:
    """Does to an even number of float16 numbers in registers, from `first` on, what `clip_of` named, if anything."""
    if not clip:
        return
    with T.unroll(0, count // 2) as pair:
        pointer = T.address_of(values[first + 2 * pair])
        call_cuda("half2_relu", pointer)
        if clip == "half2_relu6":
            call_cuda("half2_at_most_6", pointer)


def call_cuda(name: str, *arguments: Expr) -> None:
    """Calls the function that the file of that name here has."""
    T.evaluate(cuda_func_call(name, *arguments, source_code=_source(name)))


@cache
def _source(name: str) -> str:
    return files("mncc.schedules.cuda").joinpath(f"{name}.cuh").read_text(encoding="utf-8")
