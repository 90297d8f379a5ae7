"""The fixed sources of a library and how their @WORDS@ are filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

RUNTIME = Path(__file__).parent / "runtime"
"""C sources, headers and templates; travels in the wheel as package data."""


def fill(name: str, words: Mapping[str, str]) -> str:
    """The template runtime/`name` with every @WORD@ replaced; a word without a value is a KeyError."""
    text = (RUNTIME / name).read_text(encoding="utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], text)


def sources(network: str, cuda: bool = False) -> dict[str, str]:
    """The C and assembler sources by name; those that only libraries for GPUs need where `cuda`.

    name.h gives what C and assembler share a name of the network's own: not every toolchain can make it local.
    """
    files = sorted(p for p in RUNTIME.iterdir() if p.suffix in {".c", ".h", ".S"})
    chosen = [path for path in files if cuda or not path.name.startswith(("cuda_", "fatbin"))]
    texts = {path.name: path.read_text(encoding="utf-8") for path in chosen}
    shared = [f"#define mncc_{what} {network}_{what}" for what in ("weights", "fatbin")]
    return texts | {"name.h": "\n".join([f"#define MNCC_NETWORK {network}", *shared]) + "\n"}
