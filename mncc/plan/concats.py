"""Pass on the network: a concatenation of more values than a kernel takes becomes a tree of concatenations."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.limits import KERNEL_TENSORS
from mncc.network.graph import Network, Node
from mncc.network.ops import Concat


def split_concats(network: Network) -> Network:
    """The network with every concatenation small enough; the same object where that holds already."""
    if all(len(n.inputs) < KERNEL_TENSORS for n in network.nodes if isinstance(n.op, Concat)):
        return network
    nodes: list[Node] = []
    types = dict(network.types)
    for node in network.nodes:
        part = 0
        while isinstance(node.op, Concat) and len(node.inputs) >= KERNEL_TENSORS:
            first = node.inputs[: KERNEL_TENSORS - 1]
            name = f"{node.name}.part{part}"
            types[name] = node.op.infer(*(types[value] for value in first))
            nodes.append(Node(name, node.op, first, types[name], node.origin))
            node, part = replace(node, inputs=(name, *node.inputs[KERNEL_TENSORS - 1 :])), part + 1
        nodes.append(node)
    return replace(network, nodes=tuple(nodes))
