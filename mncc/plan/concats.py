"""Passes on the network: concatenations as kernels can compute them, in place where their parts can lie side by side,
in a tree of small ones where not."""

from __future__ import annotations

from dataclasses import replace

from mncc.kernels.limits import KERNEL_TENSORS
from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Concat, Slice
from mncc.plan.views import can_be_part, joins_channels


def activate_parts(network: Network) -> Network:
    """An activation that alone reads a concatenation stands before it instead, once a part, so that it rides in the
    epilogues of the parts. The same object where there is none."""
    moved = {n.inputs[0]: n for n in network.nodes if isinstance(n.op, Activation) and _alone(network, n)}
    if not moved:
        return network
    nodes: list[Node] = []
    for node in network.nodes:
        if node.name in moved:
            act = moved[node.name]
            parts = []
            for number, part in enumerate(node.inputs):
                name = f"{act.name}.part{number}"
                nodes.append(Node(name, act.op, (part,), network.types[part], act.origin))
                parts.append(name)
            nodes.append(replace(act, op=node.op, inputs=tuple(parts)))
        elif node not in moved.values():
            nodes.append(node)
    return replace(network, nodes=tuple(nodes))


def _alone(network: Network, act: Node) -> bool:
    """True where an activation is all that reads a concatenation, and nothing else reads the parts."""
    concat = network.by_name.get(act.inputs[0])
    outputs = {o.value for o in network.outputs}
    if concat is None or not joins_channels(network, concat) or concat.name in outputs:
        return False
    return len(network.users[concat.name]) == 1 and all(
        len(network.users[part]) == 1 and part not in outputs for part in concat.inputs
    )


def own_parts(network: Network) -> Network:
    """The network with a copy of every part of a concatenation that cannot lie in it: a network's input or output,
    what another concatenation holds already, what a reshape shares. The copy is a slice of all channels. The same
    object where there is none."""
    nodes: list[Node] = []
    taken: set[str] = set()
    for node in network.nodes:
        if joins_channels(network, node):
            inputs = list(node.inputs)
            for number, part in enumerate(node.inputs):
                if part in taken or not can_be_part(network, part):
                    kind = network.types[part]
                    copy = Node(f"{node.name}.copy{number}", Slice(-1, 0, kind.shape[-1]), (part,), kind, node.origin)
                    nodes.append(copy)
                    inputs[number] = copy.name
                taken.add(inputs[number])
            if tuple(inputs) != node.inputs:
                node = replace(node, inputs=tuple(inputs))
        nodes.append(node)
    return network if len(nodes) == len(network.nodes) else replace(network, nodes=tuple(nodes))


def split_concats(network: Network) -> Network:
    """The network with every other concatenation small enough for a kernel, in a tree where it has to be; the same
    object where that holds already."""
    large = [n for n in network.nodes if isinstance(n.op, Concat) and len(n.inputs) >= KERNEL_TENSORS]
    large = [n for n in large if not joins_channels(network, n)]
    if not large:
        return network
    nodes: list[Node] = []
    types = dict(network.types)
    for node in network.nodes:
        part = 0
        while node.name in {n.name for n in large} and len(node.inputs) >= KERNEL_TENSORS:
            first = node.inputs[: KERNEL_TENSORS - 1]
            name = f"{node.name}.part{part}"
            types[name] = node.op.infer(*(types[value] for value in first))
            nodes.append(Node(name, node.op, first, types[name], node.origin))
            node, part = replace(node, inputs=(name, *node.inputs[KERNEL_TENSORS - 1 :])), part + 1
        nodes.append(node)
    return replace(network, nodes=tuple(nodes))
