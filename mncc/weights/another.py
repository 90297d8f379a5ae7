"""Whether a file holds the weights of another network: one error then, in place of one for every tensor."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import PurePath

from mncc.language.diagnostic import Diagnostic
from mncc.language.source import Span
from mncc.network.graph import Network, Node
from mncc.weights.errors import AnotherNetwork, OtherSizes, shape_text
from mncc.weights.match import Pairing, fits, node_signature, structure
from mncc.weights.naming import Module, Naming

MISFIT_SHARE = 0.25
"""A file of whose operators more than this share fits nothing is taken for another network's."""
FEWEST_MISFITS = 4
"""Up to fewer than this, every operator that fits nothing is an error of its own."""


def another_network(network: Network, path: str, naming: Naming, pairing: Pairing) -> Diagnostic | None:
    """The error for a file of which too much fits nowhere; None where its tensors are to be looked at one by one."""
    misfits = [(node, module) for node, module in pairing.pairs if not _whole(network, naming, node, module)]
    count = len(misfits) + len(pairing.extras)
    if count < FEWEST_MISFITS or count <= MISFIT_SHARE * (len(pairing.pairs) + len(pairing.extras)):
        return None
    file = f"{PurePath(path).name} ({naming.name})"
    span, reason = _first_difference(network, naming, pairing, misfits)
    paired = [(node, module) for node, module in misfits if module is not None and not fits(network, node, module)]
    if len(paired) == count and all(_same_operator(network, node, module) for node, module in paired):
        return OtherSizes(file, count, len(pairing.pairs), span, reason, _width(network, paired))
    held = [module for _, module in pairing.pairs if module is not None] + [module for module, _ in pairing.extras]
    return AnotherNetwork(
        file, network.name, len(pairing.pairs) - len(misfits), len(pairing.pairs), len(held), span, reason
    )


def _whole(network: Network, naming: Naming, node: Node, module: Module | None) -> bool:
    """Whether a module is of the node's shapes and has its tensors and no others."""
    return module is not None and fits(network, node, module) and not _tensors_differ(network, naming, node, module)


def _tensors_differ(network: Network, naming: Naming, node: Node, module: Module) -> str:
    """A tensor that only one of the two has, in words; empty where both have the same."""
    roles = network.weights(node)
    for role, stored in module.tensors.items():
        if role not in roles:
            return f"{node.name} has no {role}; the file has {stored.name}"
    missing = [role for role in roles if role not in module.tensors and naming.default(role) is None]
    return f"{node.name} needs a {missing[0]}; the file has none in {module.name}" if missing else ""


def _first_difference(
    network: Network, naming: Naming, pairing: Pairing, misfits: Sequence[tuple[Node, Module | None]]
) -> tuple[Span | None, str]:
    """The row where network and file part, and how."""
    if not misfits:
        module, node = pairing.extras[0]
        return node.origin.span if node else None, f"the file goes on with {module.name}"
    node, other = misfits[0]
    if other is not None and fits(network, node, other):
        return node.origin.span, _tensors_differ(network, naming, node, other)
    role, type = next(iter(network.weights(node).items()))
    needed = f"{node.name} needs {shape_text(naming.shape(role, node.op, type))}"
    other = other or _in_its_place(network, pairing, node)
    if other is None:
        return node.origin.span, f"{needed}; the file has nothing for it"
    stored = next(iter((*other.tensors.values(), *other.unknown)))
    return node.origin.span, f"{needed}; the file has {shape_text(stored.shape)}, {stored.name}"


def _in_its_place(network: Network, pairing: Pairing, node: Node) -> Module | None:
    """What the file has behind the module of the node before this one, which has none."""
    place = [other for other, _ in pairing.pairs].index(node)
    before = [other for other, module in pairing.pairs[:place] if module is not None]
    owner = before[-1] if before else None
    if extra := next((module for module, other in pairing.extras if other is owner), None):
        return extra
    following = next(((other, module) for other, module in pairing.pairs[place:] if module is not None), None)
    return following[1] if following and not fits(network, *following) else None


def _same_operator(network: Network, node: Node, module: Module) -> bool:
    return structure(node_signature(network, node)) == structure(module.signature)


def _width(network: Network, misfits: Sequence[tuple[Node, Module]]) -> float | None:
    """The `width` under which the network would have the file's channels: where it has that parameter, the channels
    agree, and it is one that people choose, of two digits."""
    width = network.settings.get("width")
    if isinstance(width, str) or width is None:
        return None
    pairs = [(module.signature[-1], node_signature(network, node)[-1]) for node, module in misfits]
    outputs = [(found, needed) for found, needed in pairs if isinstance(found, int) and isinstance(needed, int)]
    ratios = [found / needed for found, needed in sorted(outputs, key=lambda pair: pair[1]) if found != needed]
    if not ratios or abs(statistics.median(ratios) / ratios[-1] - 1) > 0.1:
        return None
    exact = ratios[-1] * width  # the largest count is rounded least
    return round(exact, 2) if abs(round(exact, 2) / exact - 1) < 1e-3 else None
