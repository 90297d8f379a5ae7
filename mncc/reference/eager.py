"""A network as torch runs it when nobody compiles it: its own operators one after the other, channels last in memory.

The twin is written to be right and looks at every norm as plain arithmetic; this is written as torch's users write
networks, so that it can be timed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mncc.network.graph import Network, Node
from mncc.network.ops import Conv2d, Depthwise, Norm

Step = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""One operator with its weights in place; on tensors in the network's (N, H, W, C) order of axes."""


def open_pickled(path: str | Path, inputs: Sequence[np.ndarray], threads: int) -> Callable[[], list[np.ndarray]]:
    """A function that runs the network again and again on these inputs and returns its outputs in float32.

    `path` holds a pickled (Network, {(node, role): array}) that this program wrote itself.
    """
    network, tensors = pickle.loads(Path(path).read_bytes())
    return eager(network, tensors, inputs, threads)


def eager(
    network: Network, tensors: Mapping[tuple[str, str], np.ndarray], inputs: Sequence[np.ndarray], threads: int
) -> Callable[[], list[np.ndarray]]:
    """As open_pickled, with the network and its weights in memory. Sets torch's number of threads."""
    torch.set_num_threads(threads)
    given = [torch.tensor(array) for array in inputs]
    forward = eager_function(network, tensors)

    def again() -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.contiguous().numpy() for output in forward(given)]

    return again


def eager_function(
    network: Network, tensors: Mapping[tuple[str, str], np.ndarray]
) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    """Inputs to outputs, on torch's default device as it is now, where the weights lie."""
    steps = [(node, _step(network, node, tensors)) for node in network.nodes]
    last = {name: node.name for node in network.nodes for name in node.inputs}
    kept = {output.value for output in network.outputs}

    def forward(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        values = dict(zip((i.name for i in network.inputs), inputs, strict=True))
        for node, step in steps:
            values[node.name] = step([values[name] for name in node.inputs])
            for name in set(node.inputs):
                if last[name] == node.name and name not in kept:
                    del values[name]
        return [values[output.value] for output in network.outputs]

    return forward


def _step(network: Network, node: Node, tensors: Mapping[tuple[str, str], np.ndarray]) -> Step:
    """Convolutions and norms as single calls of torch's; other operators are that already in their twins."""
    op = node.op
    roles = {role: torch.tensor(tensors[node.name, role]) for role in network.weights(node)}
    if isinstance(op, Conv2d | Depthwise) and all(before == after for before, after in op.padding):
        return _conv(op, roles)
    if isinstance(op, Norm) and node.type.rank == 4:
        mean, variance, gamma, beta = (roles[role] for role in ("mean", "variance", "gamma", "beta"))

        def norm(x: Sequence[torch.Tensor]) -> torch.Tensor:
            first = x[0].permute(0, 3, 1, 2)
            y = torch.nn.functional.batch_norm(first, mean, variance, gamma, beta, False, 0.0, op.epsilon)
            return y.permute(0, 2, 3, 1)

        return norm
    return lambda x: op.torch(x, roles)


def _conv(op: Conv2d | Depthwise, roles: Mapping[str, torch.Tensor]) -> Step:
    kernel, bias = roles["kernel"], roles.get("bias")
    if isinstance(op, Depthwise):
        kh, kw, channels, multiplier = kernel.shape
        kernel, groups = kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, kh, kw), channels
    else:
        kernel, groups = kernel.permute(3, 2, 0, 1), op.groups
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    padding = (op.padding[0][0], op.padding[1][0])

    def conv(x: Sequence[torch.Tensor]) -> torch.Tensor:
        first = x[0].permute(0, 3, 1, 2)
        y = torch.nn.functional.conv2d(first, kernel, bias, op.stride, padding, op.dilation, groups)
        return y.permute(0, 2, 3, 1)

    return conv
