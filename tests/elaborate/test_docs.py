"""The reference of the language says what the code does: its examples compile, its lists are made from the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mncc.elaborate import elaborate
from mncc.elaborate.functions import FUNCTIONS
from mncc.elaborate.primitives import PRIMITIVES
from mncc.elaborate.program import prelude
from mncc.language import Source, parse
from mncc.language.lines import HEADER_WORDS
from mncc.network.graph import check_network
from tests.elaborate import reference as r

PAGE = Path(__file__).parents[2] / "docs" / "language.md"


@pytest.mark.parametrize("section", r.SECTIONS)
def test_lists_are_made_from_the_code(section: str, request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    pattern = rf"(<!-- {section}: [^\n]*-->\n).*?(<!-- end -->)"
    assert len(re.findall(pattern, text, flags=re.DOTALL)) == 1
    expected = re.sub(pattern, lambda match: f"{match[1]}{r.SECTIONS[section]()}\n{match[2]}", text, flags=re.DOTALL)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(expected, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected


EXAMPLES = re.findall(r"```mn\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_compiles(text: str) -> None:
    check_network(elaborate(parse(Source("language.md", text))))


def test_every_function_and_line_is_described() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in FUNCTIONS if f"`{name}(" not in text] == []
    assert [word for word in (*HEADER_WORDS, "block") if f"| `{word} " not in text] == []


# ---------------------------------------------------------------- the rules that the page prints
def test_every_primitive_and_block_has_a_rule() -> None:
    assert set(r.STAGES) == set(PRIMITIVES)
    known = prelude()
    assert {known[words] for words in r.ROWS} == set(known.values()) and len(r.ROWS) == len(set(known.values()))


@pytest.mark.parametrize("word", r.STAGES)
def test_a_stage_leaves_what_its_rule_says(word: str) -> None:
    shape = r.STAGES[word]
    for example in shape.examples:
        network = r.stage(example, shape.input)
        expected = r.evaluate(shape.rule, r.values_of(network.nodes[0], shape.input))
        if expected is None:
            assert word == "mean"  # its rule is in words
        else:
            assert r.left(network) == expected, example


@pytest.mark.parametrize("word", r.WEIGHTS)
def test_a_stage_has_the_parameters_and_multiply_adds_of_its_rule(word: str) -> None:
    params, macs, examples, size = r.WEIGHTS[word]
    for example in examples:
        network = r.stage(example, size)
        values = r.values_of(network.nodes[0], size)
        plain, _, bias = params.partition(", with bias ")
        expected = int(r.evaluate(plain, values) or 0)
        if getattr(network.nodes[0].op, "bias", False):
            expected += int(r.evaluate(bias.removesuffix(" more"), values) or 0)
        assert (network.params, str(network.macs)) == (expected, r.evaluate(macs, values)), example


def test_nothing_else_has_parameters_or_multiply_adds() -> None:
    for word, shape in r.STAGES.items():
        network = r.stage(shape.examples[0], shape.input)
        assert (network.params > 0) == (word in r.WEIGHTS)
        assert (network.macs > 0) == (word in r.WEIGHTS and r.WEIGHTS[word][1] != "0")


@pytest.mark.parametrize("words", r.ROWS, ids=" ".join)
def test_a_block_leaves_what_its_rule_says(words: tuple[str, ...]) -> None:
    rule, examples = r.ROWS[words]
    for example in examples:
        cells = dict(cell.split(" ", 1) for cell in example.split(", ") if cell and "->" not in cell)
        values = r.sizes_of(r.PICTURE) | {"s": 1} | {n: int(v) for n, v in cells.items() if v.isdigit()}
        expected = r.evaluate(rule, values)
        if expected is None:
            assert words[0] in ("avgpool", "maxpool", "add_padded")  # their rules are in words
        else:
            assert r.left(r.row(prelude()[words], example)) == expected, example
