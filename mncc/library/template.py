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


def sources(cuda: bool = False) -> dict[str, str]:
    """The C and assembler sources by name; those that only libraries for GPUs need where `cuda`."""
    files = sorted(p for p in RUNTIME.iterdir() if p.suffix in {".c", ".h", ".S"})
    chosen = [path for path in files if cuda or not path.name.startswith(("cuda_", "fatbin"))]
    return {path.name: path.read_text(encoding="utf-8") for path in chosen}
