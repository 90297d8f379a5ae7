"""The network as formats without norms and with activations inside operators want it: LiteRT's, ncnn's.

Their converters do the same before an engine sees a network, so an engine that is given its file this way is as fast
as its own tools make it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Add, Conv2d, Dense, Depthwise, Multiply, Norm, Op, Slice

_WITH_WEIGHTS = (Conv2d, Depthwise, Dense)
CLAMPS = ("relu", "relu6")


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
    """Applied to the result: one of those that may ride, or nothing."""


def fold(
    network: Network,
    tensors: Mapping[tuple[str, str], np.ndarray],
    riding: Collection[str] = CLAMPS,
    on: tuple[type[Op], ...] = (*_WITH_WEIGHTS, Add, Multiply),
) -> tuple[Step, ...]:
    """The network's operators in order: norms behind convolutions and dense layers in their weights (in float64,
    rounded once), activations of the kinds `riding` inside of the operators `on`, wherever nothing else reads between.
    """
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
        if isinstance(node.op, on) and follower is not None and _rides(follower.op, riding):
            assert isinstance(follower.op, Activation)
            activation, last = follower.op.kind, follower
            taken.add(last.name)
        steps.append(Step(last.name, node.op, node.inputs, _rounded(kernel), _rounded(bias), activation))
    return tuple(steps)


def split_parts(network: Network) -> Mapping[str, tuple[Node, ...]]:
    """Slices of a value that together, no others among them, are all of it: the name of each -> all in order.

    Engines have one operator for them.
    """
    found: dict[str, tuple[Node, ...]] = {}
    for value, readers in network.users.items():
        rank = network.types[value].rank
        slices = [(node.op.axis % rank, node.op.start, node) for node in readers if isinstance(node.op, Slice)]
        for axis in {axis for axis, _, _ in slices}:
            parts = [node for at, _, node in sorted(slices, key=lambda part: part[:2]) if at == axis]
            ends = [0, *(node.op.stop for node in parts if isinstance(node.op, Slice))]
            starts = [node.op.start for node in parts if isinstance(node.op, Slice)]
            if len(parts) > 1 and starts == ends[:-1] and ends[-1] == network.types[value].shape[axis]:
                found.update((node.name, tuple(parts)) for node in parts)
    return found


def _rides(op: Op, kinds: Collection[str]) -> bool:
    return isinstance(op, Activation) and op.kind in kinds


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
