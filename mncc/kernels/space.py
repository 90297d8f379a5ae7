"""The declared space of a kernel's tiles: what the tuner searches, tuned tables are checked against, and
`python -m bench.tiles` goes through. A point of it is a decision a knob, the index of one of its choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from mncc.kernels.family import family_of
from mncc.kernels.knobs import Knob
from mncc.kernels.target import Target


@cache
def knobs(spec: Any, target: Target) -> tuple[Knob, ...]:
    """What is to be decided about a kernel; nothing where its family has but one way. GPU families have none: nothing
    measures them yet."""
    space = family_of(spec).space
    return space.knobs(spec, target) if space else ()


def tiles_of(spec: Any, target: Target, decisions: Sequence[int]) -> Any:
    """The tiles of a decision a knob; None where these do not fit together. Without knobs the only tiles there are."""
    family = family_of(spec)
    if family.space is None:
        return family.choose_tiles(spec, target)
    picked = zip(knobs(spec, target), decisions, strict=True)
    return family.space.joined(spec, target, tuple(knob.choices[number] for knob, number in picked))


def decisions_of(spec: Any, target: Target, tiles: Any) -> tuple[int, ...] | None:
    """The decisions that give these tiles; None where they are not in the space."""
    space = family_of(spec).space
    if space is None:
        return () if tiles == tiles_of(spec, target, ()) else None
    places = [_places(spec, target, index) for index in range(len(knobs(spec, target)))]
    values = space.values(tiles)
    if len(values) != len(places) or not all(value in place for value, place in zip(values, places, strict=True)):
        return None
    decisions = tuple(place[value] for value, place in zip(values, places, strict=True))
    return decisions if tiles_of(spec, target, decisions) == tiles else None


@cache
def _places(spec: Any, target: Target, index: int) -> dict[Any, int]:
    """Of one knob, where each choice is."""
    return {value: number for number, value in enumerate(knobs(spec, target)[index].choices)}


def neighbours(spec: Any, target: Target, tiles: Any) -> Iterator[tuple[int, Any]]:
    """All tiles that differ from given ones of the space in one knob, each with that knob's index."""
    decisions = decisions_of(spec, target, tiles)
    assert decisions is not None, tiles
    for index, knob in enumerate(knobs(spec, target)):
        for number in range(len(knob.choices)):
            if number == decisions[index]:
                continue
            other = tiles_of(spec, target, (*decisions[:index], number, *decisions[index + 1 :]))
            if other is not None:
                yield index, other
