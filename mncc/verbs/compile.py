"""Network and weights -> everything that a library is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from mncc import __version__
from mncc.kernels.precision import FULL, Precision
from mncc.library.names import c_word
from mncc.library.selftest import TOLERANCES, make_goldens, selftest_input
from mncc.library.spec import Golden, InterfaceTensor, KernelEntry, LibrarySpec, Slot

if TYPE_CHECKING:
    from mncc.kernels.target import Target
    from mncc.network.graph import Network
    from mncc.plan import Plan, PlannedKernel
    from mncc.plan.model import Tiles
    from mncc.weights import Weights

Progress = Callable[[str, float], None]


def compile_network(
    network: Network,
    target: Target,
    weights: Weights,
    name: str,
    progress: Progress | None = None,
    precision: Precision = FULL,
    tuned: Mapping[Any, Tiles] | None = None,
) -> tuple[LibrarySpec, Plan]:
    """The library's parts and the plan behind them; `progress` is told what is being done and the share that is done.
    `tuned` are tiles by specs, as for make_plan.

    Raises DiagnosticError for weights that their stored type cannot hold, OutsideError where TVM is missing or of
    another version.
    """
    from mncc.backend import compile_kernels
    from mncc.plan import make_plan, pack_weights, stored_tensors

    tell: Progress = progress or (lambda text, share: None)
    tell("planning", 0.0)
    plan = make_plan(network, target, precision, tuned or {})
    held = stored_tensors(plan, weights.tensors)
    # Toolchains that cannot make symbols local leave them in the archive: no two libraries share one.
    prefix = f"{name}_{c_word(target.name)}_"
    kernels = compile_kernels(plan, lambda text, share: tell(text, 0.05 + 0.7 * share), prefix)
    tell("packing the weights", 0.75)
    packed = pack_weights(plan, weights.tensors)
    tell("computing the self test in float64", 0.8)
    goldens = goldens_of(network, replace(weights, tensors=held), precision)
    inputs, outputs = interface_of(network)
    spec = LibrarySpec(
        name=name,
        model_hash=model_hash(network, weights, precision),
        inputs=inputs,
        outputs=outputs,
        kernels=tuple(_entry(plan, k, s) for k, s in zip(plan.kernels, kernels.symbols, strict=True)),
        kernel_object=kernels.object,
        weights=packed,
        tensor_bytes=plan.tensor_bytes,
        scratch_bytes=plan.scratch_bytes,
        triple=target.triple,
        target=target.name,
        parts=target.parts,
        cpu_features=target.requires,
        goldens=goldens,
        manifest=_manifest(network, plan, weights, kernels.symbols),
    )
    tell("compiled", 0.95)
    return spec, plan


def emit_stage(plan: Plan, stage: str) -> str:
    """The kernels of a plan as text: `tir`, `llvm` or `asm`, for a GPU `tir` or `cuda`."""
    from mncc.backend import emit, emit_cuda
    from mncc.kernels.gpu_target import GpuTarget

    return emit_cuda(plan, stage) if isinstance(plan.machine, GpuTarget) else emit(plan, stage)


def model_hash(network: Network, weights: Weights, precision: Precision = FULL) -> str:
    """`sha256:...` over the interface, the graph, the weights and the types, without names of files or of the
    network."""
    lines = [f"input {i.name} {i.type.shape} {i.mean} {i.std} {i.channels}" for i in network.inputs]
    lines += [f"{n.name} {n.op.describe()} {' '.join(n.inputs)} {n.type.shape}" for n in network.nodes]
    lines += [f"output {o.name} {o.value} {o.kind}" for o in network.outputs]
    lines += [] if precision == FULL else [f"weights {precision.weights} values {precision.values}"]
    return "sha256:" + hashlib.sha256("\n".join([*lines, weights.digest()]).encode()).hexdigest()


def interface_of(network: Network) -> tuple[tuple[InterfaceTensor, ...], tuple[InterfaceTensor, ...]]:
    """Inputs and outputs as the C interface shows them."""
    inputs = tuple(InterfaceTensor(i.name, i.type.shape, i.mean, i.std, i.channels) for i in network.inputs)
    outputs = tuple(InterfaceTensor(o.name, network.types[o.value].shape, kind=o.kind) for o in network.outputs)
    return inputs, outputs


def goldens_of(network: Network, weights: Weights, precision: Precision = FULL) -> tuple[Golden, ...]:
    """What the self test expects: the float64 twin's outputs for the self test's inputs."""
    from mncc.reference import Twin

    inputs = [selftest_input(n, i.type.elements).reshape(i.type.shape) for n, i in enumerate(network.inputs)]
    values = Twin(network, weights).run(inputs, keep={o.value for o in network.outputs})
    return make_goldens([values[o.value] for o in network.outputs], TOLERANCES[precision.values])


def _entry(plan: Plan, kernel: PlannedKernel, symbol: str) -> KernelEntry:
    slots = []
    for value in kernel.values:
        tensor, (_, channel) = plan.tensor(value), plan.storage(value)
        stride, start = tensor.image_stride * kernel.images_per_call, channel * tensor.each
        part = plan.root(value) in plan.views.views
        shared = value == kernel.shared
        slots.append(Slot(tensor.base, tensor.index, tensor.offset + start, stride, part, start, shared))
    return KernelEntry(kernel.name, symbol, kernel.phases, kernel.images, kernel.weights_offset, tuple(slots))


def network_facts(network: Network, plan: Plan, weights: Weights) -> Mapping[str, Any]:
    """What every manifest says of a compilation: tools, settings, weights, cost, tensors."""
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "numpy")
    return {
        "versions": {"mncc": __version__, **{p: metadata.version(p) for p in packages}},
        "settings": dict(network.settings),
        "weights": {
            "source": weights.source,
            "hash": weights.digest(),
            "packed_bytes": plan.weight_bytes,
            "dtype": plan.precision.weights,
        },
        "dtype": plan.precision.values,
        "params": network.params,
        "macs": network.macs,
        "tensors": [
            {"name": t.name, "shape": list(t.type.shape), "borders": t.pads, "base": t.base, "bytes": t.bytes}
            for t in plan.tensors.values()
        ],
    }


def _manifest(network: Network, plan: Plan, weights: Weights, symbols: tuple[str, ...]) -> Mapping[str, Any]:
    return {
        **network_facts(network, plan, weights),
        "target": {"name": plan.target.name, "triple": plan.target.triple, "cpu": plan.target.cpu},
        "kernels": [_kernel_facts(plan, k, s) for k, s in zip(plan.kernels, symbols, strict=True)],
    }


def _kernel_facts(plan: Plan, kernel: PlannedKernel, symbol: str) -> Mapping[str, Any]:
    """One kernel as the manifest states it; buffers lists its scratch arrays with their shapes."""
    buffers = [{"name": s.name, "shape": [s.rows, s.cols, s.channels]} for s in kernel.scratch]
    return {
        "name": kernel.name,
        "function": symbol,
        "family": kernel.family,
        "rows": list(kernel.rows),
        "nodes": [n.name for n in kernel.nodes],
        "inputs": list(kernel.inputs),
        "output": kernel.output,
        "output_shape": list(kernel.output_type.shape),
        "items": kernel.items,
        "tiles": kernel.tile_table,
        "tuned": plan.is_tuned(kernel),
        "scratch_bytes": kernel.scratch_bytes,
        "scratch": buffers,
        "recomputed_share": round(kernel.recomputed_share, 6),
        "macs": kernel.macs,
        "weight_bytes": kernel.weight_floats * 4,
        "weights_dtype": kernel.weights_dtype,
    }
