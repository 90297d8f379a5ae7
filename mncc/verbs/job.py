"""What most verbs begin with: a network at its settings, a target, and weights."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.report.failures import UsageError

if TYPE_CHECKING:
    from mncc.kernels.target import Target
    from mncc.network import Network
    from mncc.weights import Weights

RANDOM_WEIGHTS = "random:0"
"""The weights of a command that names none."""

_DEVICES = ("qemu", "command:", "ssh://", "adb://", "tracker://")
# `mncc_model` and its kin are types of the generated header, and a library called mncc would define functions of
# these names.
_TAKEN = ("mncc",)


@dataclass(frozen=True)
class Job:
    """Everything that decides what is compiled."""

    network: Network
    target: Target
    weights: Weights
    weights_name: str
    """As the command line gave it: `random:SEED` or a file."""
    name: str
    """What the library is called: a C identifier."""

    @property
    def random(self) -> bool:
        """True where the weights are random, and answers therefore mean nothing."""
        return self.weights_name.startswith("random:")


def parse_settings(items: Iterable[str]) -> dict[str, str]:
    """`["width=0.75"]` as a mapping; the last of several for one name counts. Raises UsageError."""
    settings = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"--set {item}: expected name=value", "for example --set width=0.75")
        settings[name.strip()] = value.strip()
    return settings


def load_network(path: str | Path, settings: Mapping[str, str]) -> Network:
    """The network of a .mn file at its settings. Raises DiagnosticError."""
    from mncc.elaborate import load

    return load(Path(path), settings)


def find_target(name: str) -> Target:
    """The target of that name. Raises UsageError with the nearest names where there is none."""
    from mncc.kernels.target import load_target
    from mncc.language.diagnostic import DiagnosticError

    if "," in name:
        help = "name one, and build once for each"
        raise UsageError(f"--target {name}: one library serves one target", help)
    try:
        return load_target(name)
    except DiagnosticError as error:
        only = error.diagnostics[0]
        raise UsageError(f"--target {name}: {only.title}", only.help) from error


def prepare(
    path: str | Path,
    settings: Mapping[str, str],
    target: str = "native",
    weights: str = RANDOM_WEIGHTS,
    name: str | None = None,
) -> Job:
    """Loads network, target and weights, the cheap and likeliest to fail first. Raises DiagnosticError, UsageError."""
    if name is not None:
        _check_name(name, f"--name {name}")
    found = find_target(target)
    network = load_network(path, settings)
    _check_name(name or network.name, f"the network's name {network.name}")

    from mncc.weights import load_weights

    return Job(network, found, load_weights(network, weights), weights, name or network.name)


def require_local(device: str) -> None:
    """Raises UsageError for every device but `local`."""
    if device == "local":
        return
    if device.startswith(_DEVICES):
        raise UsageError(f"--device {device}: only `local`, the machine mncc runs on, can be reached so far")
    raise UsageError(f"--device {device}: there is no such device", "write --device local, or leave it out")


def _check_name(name: str, what: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        help = "write letters, digits and underscores, a letter first, for example --name my_net"
        raise UsageError(f"{what}: not a C identifier", help)
    if name in _TAKEN or keyword.iskeyword(name) or name in _C_KEYWORDS:
        raise UsageError(f"{what}: C or mncc uses that name itself", f"for example --name my_{name}")


_C_KEYWORDS = frozenset(
    """auto break case char class const continue default delete do double else enum extern float for goto if inline
    int long namespace new operator private protected public register restrict return short signed sizeof static
    struct switch template this throw typedef union unsigned using virtual void volatile while""".split()
)
