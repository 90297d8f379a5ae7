"""What a kernel's tiles are decided by: the form in which a family declares its space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mncc.kernels.target import Target


@dataclass(frozen=True)
class Knob:
    """One decision: its name and what it can be, each value once. Neighbouring choices are alike."""

    name: str
    choices: tuple[Any, ...]


@dataclass(frozen=True)
class Space:
    """A family's declaration. `knobs` are those of a spec on a target; `joined` the tiles of one value a knob, None
    where these do not fit together; `values` the values that tiles are made of, in the order of the knobs."""

    knobs: Callable[[Any, Target], tuple[Knob, ...]]
    joined: Callable[[Any, Target, tuple[Any, ...]], Any]
    values: Callable[[Any], tuple[Any, ...]]
