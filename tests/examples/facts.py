"""What is published about the networks in examples/: the entries of counts/*.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COUNTS = Path(__file__).with_name("counts")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass(frozen=True)
class Run:
    """A network at some settings."""

    example: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return EXAMPLES / f"{self.example}.mn"

    @property
    def texts(self) -> dict[str, str]:
        """The settings as the command line gives them."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in self.settings.items()
        }

    def __str__(self) -> str:
        return " ".join([self.example, *(f"{name}={value}" for name, value in self.texts.items())])


@dataclass(frozen=True)
class Count(Run):
    """Exact counts, and the published ones (`params`, `macs` -> the number as it is printed)."""

    params: int = 0
    macs: int = 0
    published: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    """The parts that the published numbers leave out: `classifier`, `batch norm`, `biases`, `dense layers`."""
    rounding: str = "nearest"
    digits: int = 0
    """How many digits of the published numbers are meant, where their last zeros are not: 720 M has 2; 0 for all."""
    source: str = ""
    note: str = ""
    """Why the published number is not the exact one; empty where they agree."""


def agrees(exact: int, printed: str, rounding: str = "nearest", digits: int = 0) -> bool:
    """Whether a count, rounded to the precision of a printed number, is that number. `4.24 M` has two decimals."""
    number, _, unit = printed.replace(",", "").partition(" ")
    value = Decimal(exact) / UNITS[unit]
    exponent = Decimal(number).adjusted() - digits + 1 if digits else Decimal(number).as_tuple().exponent
    step = Decimal(1).scaleb(exponent)  # type: ignore[arg-type]
    modes = [ROUND_DOWN] if rounding == "down" else [ROUND_HALF_UP, ROUND_HALF_EVEN]
    return any(value.quantize(step, mode) == Decimal(number) for mode in modes)


def _read(kind: str, make: type[Run]) -> list[Any]:
    found = []
    for path in sorted(COUNTS.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        assert set(content) <= {"count", "small", "full"}, path.name
        found += [make(**entry) for entry in content.get(kind, [])]
    return found


COUNT: list[Count] = _read("count", Count)
SMALL: list[Run] = _read("small", Run)
FULL: list[Run] = _read("full", Run)
