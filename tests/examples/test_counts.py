"""Parameters and multiply-adds of every example: exact, and as they are published."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from mncc.elaborate import load
from mncc.network.graph import Network, check_network
from mncc.verbs.cost import parts
from tests.examples.facts import COUNT, EXAMPLES, FULL, SMALL, UNITS, Count, agrees


@cache
def network_of(example: str, settings: tuple[tuple[str, str], ...]) -> Network:
    network = load(EXAMPLES / f"{example}.mn", dict(settings))
    check_network(network)
    return network


@pytest.mark.parametrize("fact", COUNT, ids=str)
def test_counts(fact: Count) -> None:
    network = network_of(fact.example, tuple(fact.texts.items()))
    assert (network.params, network.macs) == (fact.params, fact.macs)
    left_out = {part.part: part for part in parts(network)}
    params = network.params - sum(left_out[name].params for name in fact.without)
    macs = network.macs - sum(left_out[name].macs for name in fact.without)
    exact = {"params": params, "macs": macs}
    agreeing = [agrees(exact[what], printed, fact.rounding, fact.digits) for what, printed in fact.published.items()]
    if fact.note:
        assert not all(agreeing), f"{fact.published} is what we count: the note has nothing to say"
    else:
        assert all(agreeing), f"published {fact.published}, counted {exact}"


def test_every_example_has_facts() -> None:
    """Counts, a small size that `make test` runs, a published size that `make test-full` runs, and a source."""
    names = {path.stem for path in EXAMPLES.glob("*.mn")}
    for facts in (COUNT, SMALL, FULL):
        assert {fact.example for fact in facts} == names
    assert [str(fact) for fact in COUNT if not fact.source] == []
    for some in (SMALL, FULL):
        assert len({str(fact) for fact in some}) == len(some)


@pytest.mark.parametrize(
    ("exact", "printed", "rounding", "right"),
    [
        (4_233_001, "4.23 M", "nearest", True),
        (4_236_001, "4.23 M", "nearest", False),
        (4_236_001, "4.23 M", "down", True),
        (1_248_424, "1,248,424", "nearest", True),
        (1_248_425, "1,248,424", "nearest", False),
        (818_924_576, "0.82 G", "nearest", True),
        (36_500_000, "37 M", "nearest", True),
        (999, "1 k", "nearest", True),
        (999, "1 k", "down", False),
    ],
)
def test_how_printed_numbers_are_compared(exact: int, printed: str, rounding: str, right: bool) -> None:
    assert agrees(exact, printed, rounding) is right


def test_last_zeros_that_are_not_meant() -> None:
    assert agrees(724_406_816, "720 M", digits=2)
    assert not agrees(724_406_816, "720 M", digits=3)
    assert not agrees(726_000_000, "720 M", digits=2)


def test_a_wrong_count_is_seen() -> None:
    """The comparison above fails for a number that is one unit of its last place off."""
    fact = next(fact for fact in COUNT if "macs" in fact.published and not fact.note)
    number, _, unit = fact.published["macs"].replace(",", "").partition(" ")
    wrong = replace(fact, published={"macs": f"{float(number) + 1:g} {unit}".strip()})
    assert unit in UNITS
    with pytest.raises(AssertionError):
        test_counts(wrong)
