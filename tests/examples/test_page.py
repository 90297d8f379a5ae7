"""docs/networks.md is what the examples and the published counts say: --update-golden writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.language.parse import parse, read_source
from mncc.language.tree import NetworkHeader
from mncc.network.graph import Network
from mncc.verbs.cost import parts
from tests.examples.facts import COUNT, EXAMPLES, Count, Run, agrees

PAGE = EXAMPLES.parent / "docs" / "networks.md"
NAMES = list(dict.fromkeys(fact.example for fact in COUNT))

HEAD = """\
# The networks of `examples`

What each file is, as its own first lines say, and its parameters and multiply-adds beside the published ones.
`tests/examples/test_page.py --update-golden` writes this page from the files and from `tests/examples/counts/*.toml`;
`tests/examples/test_counts.py` counts every line of it anew.

- A multiply-add counts once, and only convolutions and dense layers have any. Parameters are weights, biases, and batch
  norm's gamma and beta, classifier included.
- A published number stands as it is printed. It agrees if our count, rounded to its digits, is that number (or cut to
  them, where its source cuts). One that does **not** agree is bold, and the note says what is known of it.
- "Without" names what a published number leaves out; our count without it follows.
- `mncc cost examples/NAME.mn --set NAME=VALUE` counts any other setting.
"""


@cache
def network_of(example: str, settings: tuple[tuple[str, str], ...] = ()) -> Network:
    """The network of an example at some settings."""
    return load(EXAMPLES / f"{example}.mn", dict(settings))


def head_of(example: str) -> list[str]:
    """The comment that an example begins with, line by line."""
    lines = Run(example).path.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return [line[1:].strip() for line in lines[:end]]


def settings_of(example: str) -> str:
    """The parameters of an example with their defaults."""
    header = next(item for item in parse(read_source(Run(example).path)).items if isinstance(item, NetworkHeader))
    return ", ".join(parameter.span.text for parameter in header.parameters)


def exact(fact: Count) -> dict[str, int]:
    """Our counts without the parts that the published ones leave out."""
    left_out = {part.part: part for part in parts(network_of(fact.example, tuple(fact.texts.items())))}
    return {
        "params": fact.params - sum(left_out[name].params for name in fact.without),
        "macs": fact.macs - sum(left_out[name].macs for name in fact.without),
    }


def agreement(fact: Count) -> dict[str, bool]:
    """Which of the published numbers are what we count."""
    ours = exact(fact) if fact.without else {"params": fact.params, "macs": fact.macs}
    return {what: agrees(ours[what], printed, fact.rounding, fact.digits) for what, printed in fact.published.items()}


def row(fact: Count) -> str:
    """A line of an example's table."""
    right = agreement(fact)
    printed = {what: text if right[what] else f"**{text}**" for what, text in fact.published.items()}
    texts = [" ".join(fact.source.split())]
    if fact.without:
        ours = exact(fact)
        counts = ", ".join(f"{ours[what]:,}" for what in fact.published)
        texts.append(f"Without {' and '.join(fact.without)}: {counts}")
    texts += [" ".join(fact.note.split())] if fact.note else []
    settings = ", ".join(f"{name}={value}" for name, value in fact.texts.items())
    cells = [
        f"`{settings}`" if settings else "", f"{fact.params:,}", printed.get("params", ""), f"{fact.macs:,}",
        printed.get("macs", ""), ". ".join(text.rstrip(".") for text in texts).replace("|", "\\|"),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def overview() -> Iterator[str]:
    """All networks in one table."""
    yield "| network | parameters | multiply-adds | published numbers that agree |"
    yield "| --- | ---: | ---: | ---: |"
    for name in NAMES:
        network = network_of(name)
        right = [agreed for fact in COUNT if fact.example == name for agreed in agreement(fact).values()]
        share = f"{sum(right)} of {len(right)}" if right else "none published"
        yield f"| [{name}](#{name}) | {network.params:,} | {network.macs:,} | {share} |"


def page() -> str:
    """The whole page."""
    lines = [HEAD, *overview()]
    for name in NAMES:
        lines += ["", f"## {name}", "", *head_of(name), ""]
        lines += [f"[examples/{name}.mn](../examples/{name}.mn), with `{settings_of(name)}`.", ""]
        lines += ["| settings | parameters | published | multiply-adds | published | source and notes |"]
        lines += ["| --- | ---: | ---: | ---: | ---: | --- |"]
        lines += [row(fact) for fact in COUNT if fact.example == name]
    return "\n".join(lines) + "\n"


def test_the_page(golden: Callable[[Path, str], None]) -> None:
    golden(PAGE, page())


@pytest.mark.parametrize("example", NAMES)
def test_an_example_says_what_it_is(example: str) -> None:
    """Its first lines name the paper or the code with its year, and read as text in Markdown too."""
    head = head_of(example)
    assert re.search(r"\b20[012]\d\b", " ".join(head))
    assert [line for line in head if re.match(r"[+*>#|]|\d+[.)]\s", line)] == []
