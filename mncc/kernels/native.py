"""What the machine that mncc runs on is, and which target fits it best."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mncc.kernels.target import Target

_ARCH = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7a", "armv8l": "armv7a"}
"""Python's names of architectures where they differ from those of triples."""
_LINUX = {
    "x86_64": {"bmi": "bmi1", "lzcnt": "abm"},
    "armv7a": {"vfp4": "vfpv4"},
    "aarch64": {
        "neon": "asimd",
        "crc": "crc32",
        "lse": "atomics",
        "rdm": "asimdrdm",
        "fullfp16": "asimdhp",
        "dotprod": "asimddp",
        "rcpc": "lrcpc",
    },
}
"""Linux's names of instruction sets where they differ from LLVM's."""


@dataclass(frozen=True)
class Machine:
    """`arch` as triples begin, `system` as they go on; `features` by Linux's names; `parts` of Arm processors as
    MIDR_EL1 has them, implementer << 12 | part."""

    arch: str
    system: str
    features: frozenset[str] = frozenset()
    parts: frozenset[int] = frozenset()


@cache
def this_machine() -> Machine:
    """The machine of this process. What Linux does not say is left empty."""
    machine = platform.machine().lower()
    arch = _ARCH.get(machine, machine)
    if platform.system() == "Darwin":
        return Machine(arch, "apple")
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    return read_cpuinfo(arch, text)


def read_cpuinfo(arch: str, text: str) -> Machine:
    """A Linux machine by its /proc/cpuinfo. Features are those that all processors have."""
    features = [frozenset(words.split()) for words in re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.M)]
    numbers = (re.findall(rf"^CPU {what}\s*:\s*(\w+)$", text, re.M) for what in ("implementer", "part"))
    parts = frozenset(int(maker, 0) << 12 | int(part, 0) for maker, part in zip(*numbers, strict=False))
    return Machine(arch, "linux-gnu", frozenset.intersection(*features) if features else frozenset(), parts)


def best_target(machine: Machine, targets: Iterable[Target]) -> Target | None:
    """The target that a machine runs best, None where it can run none.

    One for a processor that it has goes before all others (of several, as on a phone, the one with the larger caches);
    else the widest vectors, the most instructions and the largest caches count, in this order.
    """
    names = _LINUX.get(machine.arch, {})
    able = [
        target
        for target in targets
        if target.triple.startswith(f"{machine.arch}-")
        and machine.system in target.triple
        and (machine.system == "apple" or {names.get(f, f) for f in target.requires} <= machine.features)
    ]
    return max(
        able,
        key=lambda t: (not machine.parts.isdisjoint(t.parts), t.lanes, len(t.requires), t.l2),
        default=None,
    )
