"""`--weights`: a seed or a file becomes the weights of a network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePath

from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.network.graph import Network
from mncc.weights.another import another_network
from mncc.weights.conventions import check_conventions
from mncc.weights.errors import BadSeed, MoreErrors, NamingUnknown, UnknownFormat, UnreadableFile
from mncc.weights.keras_file import open_h5, open_keras
from mncc.weights.match import Pairing, interleaved, pair_by_name, pair_in_order
from mncc.weights.naming import Naming, recognise
from mncc.weights.random_weights import random_weights
from mncc.weights.safetensors_file import open_safetensors
from mncc.weights.stored import Archive
from mncc.weights.take import Taking
from mncc.weights.tensors import Weights
from mncc.weights.torch_file import open_torch

FORMATS: dict[str, Callable[[str], AbstractContextManager[Archive]]] = {
    ".safetensors": open_safetensors,
    ".pth": open_torch,
    ".pt": open_torch,
    ".h5": open_h5,
    ".keras": open_keras,
}
SHOWN = 10
"""Errors that are reported one by one; the rest is counted."""


def load_weights(network: Network, spec: str) -> Weights:
    """The weights that `spec` names: `random:SEED`, or the path of a .safetensors, .pth, .pt, .h5 or .keras file.

    Raises DiagnosticError with everything that is wrong: an unreadable, damaged or hostile file, tensors that are
    missing, left over, wrongly shaped or not finite, a padding or an epsilon that the producer does not use.
    """
    if spec.startswith("random:"):
        text = spec.removeprefix("random:")
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 2**64):
            raise DiagnosticError([BadSeed(text)])
        return random_weights(network, int(text))
    opener = FORMATS.get(PurePath(spec).suffix.lower())
    if opener is None:
        raise DiagnosticError([UnknownFormat(spec)])
    try:
        with Path(spec).open("rb") as file:
            if not file.read(1):
                raise DiagnosticError([UnreadableFile(spec, "it is empty")])
        with opener(spec) as archive:
            return _from_archive(network, spec, archive)
    except OSError as error:
        raise DiagnosticError([UnreadableFile(spec, error.strerror or str(error))]) from None


def _from_archive(network: Network, path: str, archive: Archive) -> Weights:
    naming = recognise(archive)
    if naming is None:
        raise DiagnosticError([NamingUnknown(path, tuple(list(archive.tensors)[:3]))])
    pairing = _pair(network, naming, archive)
    if (another := another_network(network, path, naming, pairing)) is not None:
        raise DiagnosticError([another])
    taking = Taking(network, naming)
    tensors = taking.take(pairing)
    errors, warnings = check_conventions(network, naming, archive)
    _refuse([*errors, *taking.errors])
    source = f"{PurePath(path).name} ({naming.name})"
    assumed = [archive.warning] if archive.warning else []
    return Weights(tensors, source, (*warnings, *assumed, *_auxiliary(naming, archive), *_moved(pairing)))


def _pair(network: Network, naming: Naming, archive: Archive) -> Pairing:
    """The first of the file's likely orders that fits best."""
    orders = [[module for module in order if not module.auxiliary] for order in naming.orders(archive)]
    if naming.by_name:
        return pair_by_name(network, orders[0])
    if any(module.queue for module in orders[0]):
        orders = [interleaved(network, order) for order in orders]
    return min((pair_in_order(network, order) for order in orders), key=lambda pairing: pairing.misfits(network))


def _refuse(errors: list[Diagnostic]) -> None:
    """Raises the errors, if there are any, the first few of them one by one."""
    if not errors:
        return
    shown = errors[:SHOWN]
    if len(errors) > SHOWN:
        shown.append(MoreErrors(len(errors) - SHOWN))
    raise DiagnosticError(shown)


def _auxiliary(naming: Naming, archive: Archive) -> list[str]:
    heads = dict.fromkeys(module.name.split(".")[0] for module in naming.orders(archive)[0] if module.auxiliary)
    return [f"heads that only training uses were left out: {', '.join(heads)}"] if heads else []


def _moved(pairing: Pairing) -> list[str]:
    if not pairing.moved:
        return []
    shown = ", ".join(f"{module.name} -> {node.name}" for node, module in pairing.moved[:3])
    more = f" and {len(pairing.moved) - 3} more" if len(pairing.moved) > 3 else ""
    return [f"the file's order is not the network's, so these were matched by their shapes: {shown}{more}"]
