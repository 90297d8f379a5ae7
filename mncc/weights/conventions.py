"""Whether a network pads and normalises as the producer of its weights did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from mncc.language.diagnostic import Diagnostic
from mncc.network.graph import Network, Node
from mncc.network.ops import Conv2d, Depthwise, Norm
from mncc.network.window import resolve_padding
from mncc.weights.errors import EpsilonDisagrees, PaddingDisagrees
from mncc.weights.naming import Convention, Naming
from mncc.weights.stored import Archive


def check_conventions(network: Network, naming: Naming, archive: Archive) -> tuple[list[Diagnostic], list[str]]:
    """Errors and warnings: no errors where one of the producer's conventions is the network's."""
    first: list[Diagnostic] = []
    for convention in naming.conventions(archive):
        errors = [*_padding(network, naming.name, convention), *_epsilon(network, naming.name, convention)]
        if not errors:
            return [], [f"these {naming.name} weights are taken for {convention.note}"] if convention.note else []
        first = first or errors
    return first, []


def padding_mode(network: Network, node: Node) -> Literal["same", "symmetric"] | None:
    """How a strided convolution pads, where the two ways differ; None where they agree or neither was meant.

    They differ where an even size meets a stride: `same` puts the odd pixel behind, `symmetric` one on both sides.
    """
    op = node.op
    if not isinstance(op, Conv2d | Depthwise):
        return None
    sizes = network.input_types(node)[0].shape[1:3]
    for axis in range(2):
        arguments = (sizes[axis], op.kernel[axis], op.stride[axis], op.dilation[axis])
        same, symmetric = resolve_padding("same", *arguments), resolve_padding("symmetric", *arguments)
        if same == symmetric or op.padding[axis] == (0, 0):
            continue
        if op.padding[axis] == same:
            return "same"
        if op.padding[axis] == symmetric:
            return "symmetric"
    return None


def _padding(network: Network, producer: str, convention: Convention) -> Iterator[Diagnostic]:
    other = "same" if convention.padding == "symmetric" else "symmetric"
    nodes = [node for node in network.nodes if padding_mode(network, node) == other]
    if nodes:
        span = nodes[0].origin.span
        yield PaddingDisagrees(producer, convention.padding, other, convention.epsilon, len(nodes), span)


def _epsilon(network: Network, producer: str, convention: Convention) -> Iterator[Diagnostic]:
    found = [
        (node, node.op.epsilon)
        for node in network.nodes
        if isinstance(node.op, Norm) and not math.isclose(node.op.epsilon, convention.epsilon, rel_tol=1e-4)
    ]
    if found:
        node, epsilon = found[0]
        span = node.origin.span
        yield EpsilonDisagrees(producer, convention.epsilon, epsilon, convention.padding, len(found), span)
