"""A plan's kernels -> one object file for a CPU, and the same kernels as text for `mncc emit`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mncc.backend.versions import check_versions
from mncc.kernels.chain import Chain, ChainTiles, scratch_layout
from mncc.kernels.plain import Plain, PlainTiles, weight_layout
from mncc.plan.model import Plan, PlannedKernel

if TYPE_CHECKING:
    import tvm

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class CompiledKernels:
    """One relocatable object with a function a distinct kernel; `symbols` has an entry a kernel of the plan."""

    object: bytes = field(repr=False)
    symbols: tuple[str, ...]


Emitted = str


@dataclass(frozen=True)
class _Function:
    """What makes two kernels the same code: family, tiles and the alignment of every tensor."""

    spec: Chain | Plain
    tiles: ChainTiles | PlainTiles | None
    aligned: tuple[bool, ...]


def compile_kernels(plan: Plan, progress: Progress | None = None) -> CompiledKernels:
    """The kernels of a plan in one object file. Kernels of one shape share a function."""
    symbols, functions = _functions(plan)
    module = _lowered(plan, functions, progress)
    with tempfile.TemporaryDirectory(prefix="mncc-") as folder:
        path = Path(folder) / "kernels.o"
        _generate(plan, module).write_to_file(str(path), "o")
        if progress:
            progress("generated the kernels' object", 1.0)
        return CompiledKernels(path.read_bytes(), symbols)


def emit(plan: Plan, stage: str) -> Emitted:
    """The kernels as text: `tir` scheduled TensorIR, `llvm` or `asm` what LLVM makes of it."""
    _, functions = _functions(plan)
    if stage == "tir":
        check_versions()
        return "\n\n".join(_scheduled(symbol, function).script() for function, symbol in functions.items())
    text: str = _generate(plan, _lowered(plan, functions, None)).inspect_source({"llvm": "ll", "asm": "asm"}[stage])
    return text


def _functions(plan: Plan) -> tuple[tuple[str, ...], Mapping[_Function, str]]:
    """Per kernel the symbol it calls, and every distinct function with its symbol."""
    functions: dict[_Function, str] = {}
    symbols = []
    for kernel in plan.kernels:
        function = _Function(kernel.spec, kernel.tiles, _alignment(plan, kernel))
        symbols.append(functions.setdefault(function, f"kernel{len(functions)}"))
    return tuple(symbols), functions


def _alignment(plan: Plan, kernel: PlannedKernel) -> tuple[bool, ...]:
    """Whether each tensor begins on a 64-byte line: the workspace's do, the caller's need not."""
    return tuple(plan.tensor(value).base == "workspace" for value in (*kernel.inputs, kernel.output))


def _lowered(plan: Plan, functions: Mapping[_Function, str], progress: Progress | None) -> tvm.IRModule:
    check_versions()
    import tvm

    from mncc.backend.lower import lower

    merged: dict[Any, Any] = {}
    for number, (function, symbol) in enumerate(functions.items()):
        if progress:
            progress(f"scheduling {symbol}", number / (len(functions) + 1))
        module = lower(tvm.IRModule({symbol: _scheduled(symbol, function)}), _target(plan))
        merged.update(module.functions_items() if hasattr(module, "functions_items") else module.functions.items())
    return tvm.IRModule(merged)


def _scheduled(symbol: str, function: _Function) -> tvm.tirx.PrimFunc:
    """The scheduled function with what lowering has to know of its parameters."""
    from mncc.schedules.chain import chain_function
    from mncc.schedules.plain import plain_function

    spec, tiles = function.spec, function.tiles
    arrays: dict[str, int] = {}
    if isinstance(spec, Chain):
        assert isinstance(tiles, ChainTiles), "a chain without tiles"
        scheduled = chain_function(spec, tiles, symbol)
        names = ["source", *(["addend"] if spec.residual else []), "result"]
        scratch = {s.name: s.offset * 4 for s in scratch_layout(spec, tiles)}
    else:
        assert isinstance(tiles, PlainTiles), "a plain kernel without tiles"
        scheduled = plain_function(spec, tiles, symbol)
        arrays = {f"weight{w.offset}": w.offset * 4 for w in weight_layout(spec)[0]}
        names = [p.name for p in scheduled.params[2 + len(arrays) :]]
        scratch = {}
    align = {name: 64 if line else 4 for name, line in zip(names, function.aligned, strict=True)}
    return scheduled.with_attrs({"mncc.scratch": scratch, "mncc.weights": arrays, "mncc.align": align})


def _target(plan: Plan) -> tvm.target.Target:
    from tvm.target import Target

    return Target({"kind": "llvm", "mtriple": plan.target.triple, "mcpu": plan.target.cpu})


def _generate(plan: Plan, module: tvm.IRModule) -> Any:
    import tvm

    return tvm.target.codegen.build_module(module, _target(plan))
