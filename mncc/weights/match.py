"""Which tensors of a file belong to which node: two sequences in execution order, laid beside each other."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mncc.network.graph import Network, Node
from mncc.network.ops import Conv2d, Dense, Depthwise, Norm
from mncc.weights.naming import Module, Signature

MAX_CELLS = 4_000_000
"""Largest table that is filled; longer sequences are laid beside each other without gaps."""


@dataclass(frozen=True)
class Pairing:
    """The nodes with their modules, in the network's order, and what is left of the file."""

    pairs: tuple[tuple[Node, Module | None], ...]
    extras: tuple[tuple[Module, Node | None], ...]
    """Modules that nothing takes, each with the node of the module before it."""
    moved: tuple[tuple[Node, Module], ...] = ()
    """Pairs that stand in another order in the file; they were found by their shapes."""

    def misfits(self, network: Network) -> int:
        """How many nodes have no module of their shapes, or only one that had to be searched, and how many modules are
        left over."""
        wrong = sum(not fits(network, node, module) for node, module in self.pairs)
        return wrong + len(self.moved) + len(self.extras)


def node_signature(network: Network, node: Node) -> Signature:
    """What the node's weights look like to every producer; () for operators that no producer has."""
    op, types = node.op, network.weights(node)
    if isinstance(op, Norm):
        return ("norm", *types["gamma"].shape)
    if isinstance(op, Depthwise):
        kh, kw, c, multiplier = types["kernel"].shape
        return ("layer", kh, kw, 1, c * multiplier)
    if isinstance(op, Conv2d | Dense):
        return ("layer", *(1, 1, *types["kernel"].shape)[-4:])
    return ()


def fits(network: Network, node: Node, module: Module | None) -> bool:
    """Whether a module is of the node's kind and shapes; one that was found by its name has no signature."""
    return module is not None and module.signature in ((), node_signature(network, node))


def pair_by_name(network: Network, modules: Sequence[Module]) -> Pairing:
    """Modules that have their node's name."""
    by_name = {module.name: module for module in modules}
    nodes = [node for node in network.nodes if network.weights(node)]
    names = {node.name for node in nodes}
    extras = tuple((module, None) for module in modules if module.name not in names)
    return Pairing(tuple((node, by_name.get(node.name)) for node in nodes), extras)


def pair_in_order(network: Network, modules: Sequence[Module]) -> Pairing:
    """Both sequences aligned with as few gaps and mismatches as possible.

    A missing or an extra module so costs one gap, instead of shifting everything behind it. What then fits nowhere
    is paired by equal signature in order: blocks with parallel branches may name them in another order than they
    are defined in.
    """
    nodes = [node for node in network.nodes if network.weights(node)]
    left = [node_signature(network, node) for node in nodes]
    right = [module.signature for module in modules]
    aligned = align(left, right)
    taken = {i: j for i, j in enumerate(aligned) if j is not None and left[i] == right[j]}
    moved = _moved(left, right, taken)
    taken.update(moved)
    used = set(taken.values())
    for i, partner in enumerate(aligned):
        if i not in taken and partner is not None and partner not in used:
            taken[i] = partner  # of another shape: an error that names both
    return _pairing(nodes, modules, taken, [(nodes[i], modules[j]) for i, j in moved.items()])


def interleaved(network: Network, modules: Sequence[Module]) -> list[Module]:
    """Modules of which only the order within each class is known, in the order in which the network needs them.

    Every node takes the first of a class: one of its shapes, else one of its kind; the second half of a separable
    convolution stays behind the first.
    """
    queues: dict[str, deque[Module]] = defaultdict(deque)
    for module in modules:
        queues[module.queue].append(module)
    result: list[Module] = []
    for node in network.nodes:
        signature = node_signature(network, node)
        begun = [queue for queue in queues.values() if queue and result and queue[0].name == result[-1].name]
        heads = [*begun, *(queue for queue in queues.values() if queue)]
        alike = [queue for queue in heads if signature and queue[0].signature == signature]
        alike += [queue for queue in heads if signature and structure(queue[0].signature) == structure(signature)]
        if alike:
            result.append(alike[0].popleft())
    return [*result, *(module for queue in queues.values() for module in queue)]


def _moved(left: Sequence[Signature], right: Sequence[Signature], taken: Mapping[int, int]) -> dict[int, int]:
    """What fits nowhere in order, paired by equal signature; nothing where many would still fit nowhere: the file
    then is another network's, and equal shapes are chance."""
    used = set(taken.values())
    loose: dict[Signature, deque[int]] = defaultdict(deque)
    for j, signature in enumerate(right):
        if j not in used and signature:
            loose[signature].append(j)
    homeless = [i for i in range(len(left)) if i not in taken]
    moved = {i: loose[left[i]].popleft() for i in homeless if loose[left[i]]}
    return moved if 4 * len(moved) >= 3 * len(homeless) else {}


def _pairing(
    nodes: Sequence[Node], modules: Sequence[Module], taken: Mapping[int, int], moved: list[tuple[Node, Module]]
) -> Pairing:
    owner = {j: nodes[i] for i, j in taken.items()}
    extras, before = [], None
    for j, module in enumerate(modules):
        before = owner.get(j, before)
        if j not in owner:
            extras.append((module, before))
    pairs = tuple((node, modules[taken[i]] if i in taken else None) for i, node in enumerate(nodes))
    return Pairing(pairs, tuple(extras), tuple(moved))


def align(left: Sequence[Signature], right: Sequence[Signature]) -> list[int | None]:
    """For every element of `left` its partner in `right`, in order; None for gaps.

    Sequences of the same operators in other sizes, another width say, stand beside each other without gaps.
    """
    if [structure(a) for a in left] == [structure(b) for b in right]:
        return list(range(len(left)))
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    n, m = len(left) - start - end, len(right) - start - end
    if n * m > MAX_CELLS:
        inner: list[int | None] = [k if k < m else None for k in range(n)]
    else:
        inner = _align(left[start : start + n], right[start : start + m])
    head: list[int | None] = list(range(start))
    tail: list[int | None] = list(range(len(right) - end, len(right)))
    return [*head, *(None if j is None else j + start for j in inner), *tail]


def _align(left: Sequence[Signature], right: Sequence[Signature]) -> list[int | None]:
    """The cheapest alignment (Needleman and Wunsch 1970)."""
    costs = [[GAP * j for j in range(len(right) + 1)]]
    for i, a in enumerate(left):
        row = [GAP * (i + 1)]
        for j, b in enumerate(right):
            row.append(min(costs[i][j] + _difference(a, b), costs[i][j + 1] + GAP, row[j] + GAP))
        costs.append(row)
    result: list[int | None] = [None] * len(left)
    i, j = len(left), len(right)
    while i and j:
        if costs[i][j] == costs[i - 1][j - 1] + _difference(left[i - 1], right[j - 1]):
            i, j = i - 1, j - 1
            result[i] = j
        elif costs[i][j] == costs[i - 1][j] + GAP:
            i -= 1
        else:
            j -= 1
    return result


GAP = 3
"""The price of leaving one element alone."""


def _difference(a: Signature, b: Signature) -> int:
    """The price of a pair: 0 for equal shapes, below two gaps for the same operator in another size."""
    if a == b:
        return 0
    if not a or not b or a[0] != b[0]:
        return 2 * GAP + 1
    if structure(a) == structure(b):
        return 2 if sum(x != y for x, y in zip(a, b, strict=True)) == 1 else 3
    return 5


def structure(signature: Signature) -> Signature:
    """The signature without channels: kind, kernel and whether it is depthwise."""
    return (*signature[:3], signature[3] == 1) if len(signature) == 5 else signature[:1]
