"""Pass on the network: an output that is an input, or the same value as another output, gets a copy of its own."""

from __future__ import annotations

from dataclasses import replace

from mncc.network.graph import Network, Node, Origin, Output
from mncc.network.ops import Reshape


def separate_ends(network: Network) -> Network:
    """The network with every output made by a node of its own; the same object where that holds already."""
    inputs = {i.name: i for i in network.inputs}
    seen: set[str] = set()
    nodes, outputs = list(network.nodes), []
    for output in network.outputs:
        if output.value in seen or output.value in inputs:
            node = _copy(network, output)
            nodes.append(node)
            output = replace(output, value=node.name)
        seen.add(output.value)
        outputs.append(output)
    if len(nodes) == len(network.nodes):
        return network
    return replace(network, nodes=tuple(nodes), outputs=tuple(outputs))


def _copy(network: Network, output: Output) -> Node:
    kind = network.types[output.value]
    made = network.by_name.get(output.value)
    span = made.origin.span if made else next(i.span for i in network.inputs if i.name == output.value)
    assert span is not None, f"output {output.name} has no line"
    name = f"{output.value}.copy.{output.name}"
    return Node(name, Reshape(kind.shape[1:]), (output.value,), kind, Origin(span, "copy", -1))
