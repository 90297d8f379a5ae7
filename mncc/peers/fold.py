"""The network as formats without norms and with activations inside operators want it: LiteRT's, ncnn's.

Their converters do the same before an engine sees a network, so an engine that is given its file this way is as fast
as its own tools make it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Add, Conv2d, Dense, Depthwise, Norm, Op

_WITH_WEIGHTS = (Conv2d, Depthwise, Dense)


@dataclass(frozen=True)
class Step:
    """An operator with what was folded into it. It makes the value that the network calls `name`."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    kernel: np.ndarray | None = None
    """float32, in the operator's layout; of a norm that nothing could take in, its scale (channels,)."""
    bias: np.ndarray | None = None
    """float32 (channels,), zeros where a convolution or dense layer has none."""
    activation: str = ""
    """Applied to the result: relu, relu6 or nothing."""


def fold(network: Network, tensors: Mapping[tuple[str, str], np.ndarray]) -> tuple[Step, ...]:
    """The network's operators in order: norms behind convolutions and dense layers in their weights (in float64,
    rounded once), relu and relu6 behind those and behind sums inside of them, wherever nothing else reads between."""
    steps = []
    taken: set[str] = set()
    for node in network.nodes:
        if node.name in taken:
            continue
        last = node
        kernel, bias = _weights(node, tensors)
        follower = _only_reader(network, node)
        if isinstance(node.op, _WITH_WEIGHTS) and follower is not None and isinstance(follower.op, Norm):
            scale, shift = _affine(follower, tensors)
            assert kernel is not None and bias is not None
            kernel, bias = (kernel.reshape(-1, scale.size) * scale).reshape(kernel.shape), bias * scale + shift
            last = follower
            taken.add(last.name)
        activation = ""
        follower = _only_reader(network, last)
        if isinstance(node.op, (*_WITH_WEIGHTS, Add)) and follower is not None and _can_ride(follower.op):
            assert isinstance(follower.op, Activation)
            activation, last = follower.op.kind, follower
            taken.add(last.name)
        steps.append(Step(last.name, node.op, node.inputs, _rounded(kernel), _rounded(bias), activation))
    return tuple(steps)


def _can_ride(op: Op) -> bool:
    return isinstance(op, Activation) and op.kind in ("relu", "relu6")


def _rounded(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.astype(np.float32)


def _weights(node: Node, tensors: Mapping[tuple[str, str], np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Kernel and bias of a node by itself, in float64."""
    if isinstance(node.op, Norm):
        return _affine(node, tensors)
    if not isinstance(node.op, _WITH_WEIGHTS):
        return None, None
    bias = tensors.get((node.name, "bias"), np.zeros(node.type.shape[-1]))
    return tensors[node.name, "kernel"].astype(np.float64), bias.astype(np.float64)


def _affine(node: Node, tensors: Mapping[tuple[str, str], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a norm, in float64."""
    assert isinstance(node.op, Norm)
    gamma, beta, mean, variance = (
        tensors[node.name, role].astype(np.float64) for role in ("gamma", "beta", "mean", "variance")
    )
    scale = gamma / np.sqrt(variance + node.op.epsilon)
    return scale, beta - mean * scale


def _only_reader(network: Network, node: Node) -> Node | None:
    """The node that alone reads a value, which is no output; None where there are others."""
    readers = network.users[node.name]
    shown = any(output.value == node.name for output in network.outputs)
    return readers[0] if len(readers) == 1 and not shown else None
