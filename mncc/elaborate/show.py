"""A network as text, for `mncc emit --stage network`."""

from __future__ import annotations

from mncc.network.graph import Network


def show_network(network: Network) -> str:
    """Header, inputs, a line a node and outputs; ends with a line break."""
    settings = ", ".join(f"{name} = {value}" for name, value in network.settings.items())
    lines = [f"network {network.name}({settings})"]
    for each in network.inputs:
        lines.append(f"input {each.name}: {each.type}")
    width = max((len(node.name) for node in network.nodes), default=0)
    for node in network.nodes:
        inputs = ", ".join(node.inputs)
        lines.append(f"{node.name:<{width}}  {node.type!s:<14} {node.op.describe()} <- {inputs}")
    for output in network.outputs:
        lines.append(f"output {output.name}: {output.value} ({output.kind})")
    return "\n".join(lines) + "\n"
