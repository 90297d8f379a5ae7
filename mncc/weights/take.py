"""Tensors of a file into a network's weights: shapes, types and values checked, layouts converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mncc.language.diagnostic import Diagnostic
from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Dense, Norm, Reshape
from mncc.network.types import TensorType
from mncc.weights.errors import ExtraTensor, MissingTensor, NegativeVariance, NotFinite, WrongShape, WrongType
from mncc.weights.match import Pairing, node_signature
from mncc.weights.naming import Module, Naming
from mncc.weights.stored import FLOATS
from mncc.weights.tensors import frozen


@dataclass
class Taking:
    """The work of filling one network from one file; everything wrong is collected in `errors`."""

    network: Network
    naming: Naming
    errors: list[Diagnostic] = field(default_factory=list)

    def take(self, pairing: Pairing) -> dict[tuple[str, str], np.ndarray]:
        """(node name, role) -> array, complete where `errors` stays empty."""
        tensors: dict[tuple[str, str], np.ndarray] = {}
        previous: Module | None = None
        following = _following([module for _, module in pairing.pairs])
        for place, (node, module) in enumerate(pairing.pairs):
            types = self.network.weights(node)
            if module is None:
                self.errors.append(self._missing(node, types, previous, following[place]))
                continue
            previous = module
            for role, type in types.items():
                array = self._tensor(node, module, role, type)
                if array is None and isinstance(self.errors[-1], WrongShape):
                    break  # the others have the same mistake
                if array is not None:
                    tensors[node.name, role] = array
            leftover = [stored for role, stored in module.tensors.items() if role not in types]
            for stored in (*leftover, *module.unknown):
                self.errors.append(ExtraTensor(stored.name, stored.shape, node.origin.span, "belongs to"))
        self.errors.extend(_extras(pairing.extras))
        return tensors

    def _tensor(self, node: Node, module: Module, role: str, type: TensorType) -> np.ndarray | None:
        """One role's array in mncc's layout; None where something is wrong with it."""
        naming, span = self.naming, node.origin.span
        expected = naming.shape(role, node.op, type)
        stored = module.tensors.get(role)
        default = naming.default(role)
        if stored is None and default is not None:
            return frozen(np.full(type.shape, default))
        if stored is None:
            self.errors.append(MissingTensor(naming.key(module.name, role), expected, node.name, span))
            return None
        if not naming.fits(role, stored.shape, node.op, type):
            hint = self._hint(node, module)
            self.errors.append(WrongShape(stored.name, stored.shape, expected, node.name, span, hint))
            return None
        if stored.dtype not in FLOATS:
            self.errors.append(WrongType(stored.name, stored.dtype, stored.shape, node.name, span))
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            array = stored.read().astype(np.float32)
        wrong = array.size - int(np.isfinite(array).sum())
        if wrong:
            self.errors.append(NotFinite(stored.name, wrong, stored.shape, expected, node.name, span))
            return None
        if role == "variance" and (lowest := float(array.min())) < 0:
            self.errors.append(NegativeVariance(stored.name, lowest, stored.shape, expected, node.name, span))
            return None
        array = naming.convert(role, array, node.op, type)
        picture = flattened_picture(self.network, node) if naming.channels_first else None
        return frozen(array if picture is None else channels_last(array, role, node, picture))

    def _missing(
        self, node: Node, types: Mapping[str, TensorType], before: Module | None, after: Module | None
    ) -> Diagnostic:
        role, type = next(iter(types.items()))
        naming = self.naming
        name = f"{naming.key(node.name, role)}" if naming.by_name else f"tensors for the {node.op.name} {node.name}"
        neighbours = [f"after {before.name}"] if before else []
        neighbours += [f"before {after.name}"] if after else []
        place = f" {' and '.join(neighbours)}" if neighbours and not naming.by_name else ""
        return MissingTensor(name, naming.shape(role, node.op, type), node.name, node.origin.span, place)

    def _hint(self, node: Node, module: Module) -> str | None:
        """Where only the number of classes differs, what to type to change it."""
        *expected, classes = node_signature(self.network, node)
        *found, others = module.signature or ("",)
        last = [other for other in self.network.nodes if self.network.weights(other)][-1]
        if node is not last or found != expected or classes != self.network.settings.get("classes"):
            return None
        return f"the weights are for {others} classes: add `--set classes={others}`"


def flattened_picture(network: Network, node: Node) -> tuple[int, int, int] | None:
    """(H, W, C) where the node reads a flattened picture of more than one pixel, else None."""
    if not isinstance(node.op, Dense | Norm):
        return None
    name = node.inputs[0]
    while (producer := network.by_name.get(name)) is not None:
        if isinstance(producer.op, Reshape):
            shape = network.input_types(producer)[0].shape[1:]
            flat = len(producer.op.shape) == 1 and len(shape) == 3 and shape[0] * shape[1] > 1
            return (shape[0], shape[1], shape[2]) if flat else None
        if not isinstance(producer.op, Activation | Norm):
            return None
        name = producer.inputs[0]
    return None


def channels_last(array: np.ndarray, role: str, node: Node, picture: tuple[int, int, int]) -> np.ndarray:
    """Weights that count a flattened picture's elements as (C, H, W), in the order (H, W, C)."""
    if role == "bias":
        return array
    h, w, c = picture
    rest = array.shape[1:]
    return np.moveaxis(array.reshape(c, h, w, *rest), 0, 2).reshape(h * w * c, *rest)


def _following(modules: Sequence[Module | None]) -> list[Module | None]:
    """For every place the next module behind it."""
    result: list[Module | None] = []
    after: Module | None = None
    for module in reversed(modules):
        result.append(after)
        after = module or after
    return result[::-1]


def _extras(extras: Sequence[tuple[Module, Node | None]]) -> Iterator[Diagnostic]:
    for module, node in extras:
        first, *others = (*module.tensors.values(), *module.unknown)
        span = node.origin.span if node else None
        yield ExtraTensor(first.name, first.shape, span, "comes after", len(others))
