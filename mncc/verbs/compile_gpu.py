"""Network and weights -> everything that a library for GPUs is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mncc.kernels.precision import FULL, Precision
from mncc.library.cuda_spec import CudaArgument, CudaLaunch, CudaSpec
from mncc.verbs.compile import Progress, goldens_of, interface_of, model_hash, network_facts

if TYPE_CHECKING:
    from mncc.backend.cuda import CudaKernels, Launch
    from mncc.kernels.gpu_target import GpuTarget
    from mncc.network.graph import Network
    from mncc.plan import Plan
    from mncc.weights import Weights


def compile_gpu_network(
    network: Network,
    targets: tuple[GpuTarget, ...],
    weights: Weights,
    name: str,
    progress: Progress | None = None,
    precision: Precision = FULL,
) -> CudaSpec:
    """The library's parts but for the machine code, which nvcc makes of the source. Tiles are chosen for the first of
    the targets, with as much shared memory as a block has on all of them.

    Raises DiagnosticError for weights that their stored type cannot hold, OutsideError where TVM is missing or of
    another version.
    """
    from mncc.backend import compile_cuda
    from mncc.plan import make_plan, pack_weights, stored_tensors

    tell: Progress = progress or (lambda text, share: None)
    tell("planning", 0.0)
    plan = make_plan(network, planned_for(targets), precision)
    held = stored_tensors(plan, weights.tensors)
    kernels = compile_cuda(plan, lambda text, share: tell(text, 0.05 + 0.7 * share))
    tell("packing the weights", 0.75)
    packed = pack_weights(plan, weights.tensors)
    tell("computing the self test in float64", 0.8)
    inputs, outputs = interface_of(network)
    return CudaSpec(
        name=name,
        model_hash=model_hash(network, weights, precision),
        inputs=inputs,
        outputs=outputs,
        source=kernels.source,
        architectures=tuple(target.architecture for target in targets),
        launches=tuple(_launch(plan, launch) for launch in kernels.launches),
        weights=packed,
        workspace_bytes=plan.tensor_bytes,
        goldens=goldens_of(network, replace(weights, tensors=held), precision),
        manifest=_manifest(network, plan, targets, weights, kernels),
    )


def planned_for(targets: tuple[GpuTarget, ...]) -> GpuTarget:
    """The first of the targets, whose blocks have no more shared memory than those of any."""
    return replace(targets[0], block_shared=min(target.block_shared for target in targets))


def _launch(plan: Plan, launch: Launch) -> CudaLaunch:
    kernel = plan.kernels[launch.kernel]
    arguments = []
    for argument in launch.arguments:
        if argument.value is None:
            arguments.append(CudaArgument("weights", 0, kernel.weights_offset + argument.offset))
        else:
            tensor = plan.tensor(argument.value)
            arguments.append(CudaArgument(tensor.base, tensor.index, tensor.offset + argument.offset))
    return CudaLaunch(kernel.name, launch.symbol, launch.grid, launch.block, launch.shared_bytes, tuple(arguments))


def _manifest(
    network: Network, plan: Plan, targets: tuple[GpuTarget, ...], weights: Weights, kernels: CudaKernels
) -> Mapping[str, Any]:
    return {
        **network_facts(network, plan, weights),
        "target": {"names": [target.name for target in targets], "tiles_for": targets[0].board},
        "kernels": [_kernel_facts(plan, launch) for launch in kernels.launches],
    }


def _kernel_facts(plan: Plan, launch: Launch) -> Mapping[str, Any]:
    """One launch as the manifest states it, beside what the library knows."""
    kernel = plan.kernels[launch.kernel]
    return {
        "family": kernel.family,
        "rows": list(kernel.rows),
        "nodes": [n.name for n in kernel.nodes],
        "inputs": list(kernel.inputs),
        "output": kernel.output,
        "output_shape": list(kernel.output_type.shape),
        "tiles": kernel.tile_table,
        "macs": kernel.macs,
        "weight_bytes": kernel.weight_floats * 4,
        "weights_dtype": kernel.weights_dtype,
    }
