"""A plan's kernels -> one object file for a CPU, and the same kernels as text for `mncc emit`."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mncc.backend.versions import check_versions
from mncc.kernels.ahead import Ahead, NextRows
from mncc.kernels.chain import Chain
from mncc.kernels.plain import Plain, PlainTiles
from mncc.kernels.strassen import Strassen
from mncc.kernels.target import Target
from mncc.kernels.tiles import LINE
from mncc.kernels.tunable import Tunable
from mncc.kernels.winograd import Winograd
from mncc.language.diagnostic import OutsideError
from mncc.plan.model import Plan

if TYPE_CHECKING:
    import tvm

Progress = Callable[[str, float], None]
LLVM_LEVEL = 2
"""LLVM's -O level. The schedules have unrolled what gains by it; level 3 unrolls taps as well, merges the loads of
overlapping windows and pushes the sums out of the registers."""
LARGEST_OBJECT = 1 << 25
"""Bytes; kernels' objects are far smaller."""


@dataclass(frozen=True)
class CompiledKernels:
    """One relocatable object with a function a distinct kernel; `symbols` has an entry a kernel of the plan."""

    object: bytes = field(repr=False)
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class KernelFunction:
    """What makes two kernels the same code: family, tiles, the alignment of every tensor, and what it
    prefetches."""

    spec: Chain | Plain
    tiles: Tunable | PlainTiles | None
    aligned: tuple[bool, ...]
    ahead: Ahead | NextRows | None = None


def compile_kernels(plan: Plan, progress: Progress | None = None, prefix: str = "") -> CompiledKernels:
    """The kernels of a plan in one object file. Kernels of one shape that fetch the same ahead share a function;
    symbols begin with `prefix`."""
    symbols, functions = _functions(plan, prefix)
    return CompiledKernels(compile_functions(functions, plan.target, progress), symbols)


def compile_functions(
    functions: Mapping[KernelFunction, str], target: Target, progress: Progress | None = None
) -> bytes:
    """A relocatable object with the given functions under the given symbols. Raises OutsideError for a wrong TVM."""
    module = _generate(target, _lowered(target, functions, progress))
    code = _object(module)
    if progress:
        progress("generated the kernels' object", 1.0)
    return code


def _object(module: Any) -> bytes:
    """The module's object file. LLVM writes nothing but files, and ends the process where that fails: the file is one
    in memory, which no full disk can stop."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < LARGEST_OBJECT:
        raise OutsideError(f"files may not grow past {limit} bytes, too few for the kernels", "ulimit -f unlimited")
    with os.fdopen(os.memfd_create("kernels.o"), "r+b") as file:
        path = f"/proc/self/fd/{file.fileno()}"
        if not os.path.exists(path):
            raise OutsideError(f"LLVM cannot write its object: there is no {path}", "mount -t proc proc /proc")
        module.write_to_file(path, "o")
        return file.read()


def emit(plan: Plan, stage: str) -> str:
    """The kernels as text: `tir` scheduled TensorIR, `llvm` or `asm` what LLVM makes of it."""
    _, functions = _functions(plan)
    if stage == "tir":
        check_versions()
        return "\n\n".join(_scheduled(symbol, function).script() for function, symbol in functions.items())
    module = _generate(plan.target, _lowered(plan.target, functions, None))
    return _without_addresses(str(module.inspect_source({"llvm": "ll", "asm": "asm"}[stage])))


def _without_addresses(text: str) -> str:
    """TVM calls the buffers of alias metadata by their addresses; here they are numbered, so that two runs agree."""
    numbers: dict[str, str] = {}
    return re.sub(r'(?<=!")0x[0-9a-f]+', lambda found: numbers.setdefault(found[0], f"buffer{len(numbers)}"), text)


def _functions(plan: Plan, prefix: str = "") -> tuple[tuple[str, ...], Mapping[KernelFunction, str]]:
    """Per kernel the symbol it calls, and every distinct function with its symbol."""
    functions: dict[KernelFunction, str] = {}
    symbols = []
    for kernel in plan.kernels:
        tiles = kernel.tiles
        assert tiles is None or isinstance(tiles, Tunable | PlainTiles)
        function = KernelFunction(kernel.spec, tiles, tuple(map(plan.is_aligned, kernel.values)), kernel.ahead)
        symbols.append(functions.setdefault(function, f"{prefix}kernel{len(functions)}"))
    return tuple(symbols), functions


def _lowered(target: Target, functions: Mapping[KernelFunction, str], progress: Progress | None) -> tvm.IRModule:
    check_versions()
    import tvm

    from mncc.backend.lower import lower

    merged: dict[Any, Any] = {}
    for number, (function, symbol) in enumerate(functions.items()):
        if progress:
            progress(f"scheduling {symbol}", number / (len(functions) + 1))
        scheduled = tvm.IRModule({symbol: _scheduled(symbol, function)})
        module = lower(scheduled, _llvm(target), target.intrinsics)
        merged.update(module.functions.items())
    return tvm.IRModule(merged)


def _scheduled(symbol: str, function: KernelFunction) -> tvm.tirx.PrimFunc:
    """The scheduled function with the alignment of its tensors, which lowering passes on to LLVM."""
    from mncc.schedules.chain import chain_function
    from mncc.schedules.plain import plain_function
    from mncc.schedules.strassen import strassen_function
    from mncc.schedules.winograd import winograd_function

    schedules: Mapping[type, Callable[..., tvm.tirx.PrimFunc]] = {
        Chain: chain_function,
        Winograd: winograd_function,
        Strassen: strassen_function,
        Plain: plain_function,
    }
    ahead = (function.ahead,) if type(function.spec) is Chain else ()
    scheduled = schedules[type(function.spec)](function.spec, function.tiles, symbol, *ahead)
    placed = {*scheduled.attrs["mncc.weights"], *scheduled.attrs["mncc.scratch"]}
    tensors = [p for p in scheduled.params[2:] if p.name not in placed]
    align = {p.name: LINE if line else p.dtype.itemsize for p, line in zip(tensors, function.aligned, strict=True)}
    return scheduled.with_attr("mncc.align", align)


def _llvm(target: Target) -> tvm.target.Target:
    from tvm.target import Target as TvmTarget

    options: dict[str, Any] = {"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu, "opt-level": LLVM_LEVEL}
    if target.features:
        options["mattr"] = list(target.features)
    if target.llvm:
        options["cl-opt"] = list(target.llvm)
    if target.float_abi:
        options["mfloat-abi"] = target.float_abi
    return TvmTarget(options)


def _generate(target: Target, module: tvm.IRModule) -> Any:
    import tvm

    return tvm.target.codegen.build_module(module, _llvm(target))
