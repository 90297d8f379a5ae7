"""The weights as the kernels read them: norms folded in float64, panels packed, one array for the library."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.network.graph import Node
from mncc.network.ops import Norm
from mncc.plan.model import Plan, PlannedKernel, StageSource

Tensors = Mapping[tuple[str, str], np.ndarray]
"""(node name, role) -> array, in the operators' layouts."""


def pack_weights(plan: Plan, tensors: Tensors) -> np.ndarray:
    """All packed weights of a plan, flat float32; every kernel's begin at its `weights_offset`."""
    packed = np.zeros(plan.weight_bytes // 4, np.float32)
    for kernel in plan.kernels:
        start = kernel.weights_offset // 4
        packed[start : start + kernel.weight_floats] = _kernel_weights(kernel, tensors)
    return packed


def _kernel_weights(kernel: PlannedKernel, tensors: Tensors) -> np.ndarray:
    convolutions = isinstance(kernel.spec, Chain)
    arrays = [fold_norm(s, tensors) if convolutions else _roles(s.node, tensors) for s in kernel.sources]
    return family_of(kernel.spec).pack(kernel.spec, kernel.tiles, arrays)


def _roles(node: Node, tensors: Tensors) -> Mapping[str, np.ndarray]:
    return {role: array for (name, role), array in tensors.items() if name == node.name}


def fold_norm(source: StageSource, tensors: Tensors) -> Mapping[str, np.ndarray]:
    """Kernel and bias of a convolution with its norm folded in: w gamma / sqrt(var + eps) and
    beta + (bias - mean) gamma / sqrt(var + eps), computed in float64 and rounded once."""
    name = source.node.name
    kernel = tensors[name, "kernel"].astype(np.float64)
    channels = source.node.type.shape[-1]
    bias = tensors.get((name, "bias"), np.zeros(channels)).astype(np.float64)
    flat = kernel.reshape(-1, channels)
    if source.norm is not None:
        assert isinstance(source.norm.op, Norm)
        gamma, beta, mean, variance = (
            tensors[source.norm.name, role].astype(np.float64) for role in ("gamma", "beta", "mean", "variance")
        )
        scale = gamma / np.sqrt(variance + source.norm.op.epsilon)
        flat, bias = flat * scale, beta + (bias - mean) * scale
    return {"kernel": flat.reshape(kernel.shape).astype(np.float32), "bias": bias.astype(np.float32)}
