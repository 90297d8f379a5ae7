"""The weights as the kernels read them: norms folded in float64, panels packed, one array for the library."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.precision import StoredType
from mncc.network.graph import Node
from mncc.network.ops import Norm
from mncc.plan.model import Plan, PlannedKernel, StageSource

Tensors = Mapping[tuple[str, str], np.ndarray]
"""(node name, role) -> array, in the operators' layouts."""


def pack_weights(plan: Plan, tensors: Tensors) -> np.ndarray:
    """All packed weights of a plan, flat; every kernel's begin at its `weights_offset`. float32, or the memory of as
    many float32 where weights are stored in less."""
    packed = np.zeros(plan.weight_bytes // 4, np.float32)
    for kernel in plan.kernels:
        start = kernel.weights_offset // 4
        packed[start : start + kernel.weight_floats] = _kernel_weights(kernel, tensors)
    return packed


def _kernel_weights(kernel: PlannedKernel, tensors: Tensors) -> np.ndarray:
    return family_of(kernel.spec).pack(kernel.spec, kernel.tiles, kernel_arrays(kernel, tensors))


def kernel_arrays(kernel: PlannedKernel, tensors: Tensors) -> tuple[Mapping[str, np.ndarray], ...]:
    """What a kernel's weights are packed from, whatever its tiles: an entry a source, norms folded in."""
    convolutions, stored = isinstance(kernel.spec, Chain), kernel.weights_dtype
    return tuple(fold_norm(s, tensors, stored) if convolutions else _roles(s.node, tensors) for s in kernel.sources)


def _roles(node: Node, tensors: Tensors) -> Mapping[str, np.ndarray]:
    return {role: array for (name, role), array in tensors.items() if name == node.name}


def fold_norm(source: StageSource, tensors: Tensors, stored: StoredType = "float32") -> Mapping[str, np.ndarray]:
    """Kernel and bias of a convolution with its norm folded in: w gamma / sqrt(var + eps) and
    beta + (bias - mean) gamma / sqrt(var + eps), computed in float64 and rounded once: the kernel to the type in which
    it is stored, which float32 arrays hold here."""
    name = source.node.name
    kernel = tensors[name, "kernel"].astype(np.float64)
    channels = source.node.type.shape[-1]
    bias = tensors.get((name, "bias"), np.zeros(channels)).astype(np.float64)
    flat = kernel.reshape(-1, channels)
    if source.norm is not None:
        beta, mean = (tensors[source.norm.name, role].astype(np.float64) for role in ("beta", "mean"))
        scale = norm_scale(source, tensors)
        flat, bias = flat * scale, beta + (bias - mean) * scale
    rounded = flat.reshape(kernel.shape).astype(stored).astype(np.float32)
    return {"kernel": rounded, "bias": bias.astype(np.float32)}


def norm_scale(source: StageSource, tensors: Tensors) -> np.ndarray:
    """What folding multiplies the weights of every output channel by, in float64; ones without a norm."""
    if source.norm is None:
        return np.ones(source.node.type.shape[-1])
    assert isinstance(source.norm.op, Norm)
    gamma, variance = (tensors[source.norm.name, role].astype(np.float64) for role in ("gamma", "variance"))
    return gamma / np.sqrt(variance + source.norm.op.epsilon)
