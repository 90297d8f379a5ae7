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
from mncc.language import tree as t
from mncc.language.lines import HEADER_WORDS
from mncc.network.graph import check_network

PAGE = Path(__file__).parents[2] / "docs" / "language.md"


def primitives() -> str:
    rows = [f"| `{primitive.form(word)}` | {primitive.summary} |" for word, primitive in PRIMITIVES.items()]
    return "\n".join(["| stage | meaning |", "|---|---|", *rows])


def blocks() -> str:
    rows = []
    for block in dict.fromkeys(prelude().values()):
        words = ", ".join(f"`{word.text}`" for word in block.words)
        parameters = ", ".join(parameter_text(parameter) for parameter in block.parameters)
        rows.append(f"| {words} | {f'`{parameters}`' if parameters else ''} |")
    return "\n".join(["| words | parameters |", "|---|---|", *rows])


def parameter_text(parameter: t.Parameter) -> str:
    return parameter.name if parameter.default is None else f"{parameter.name} = {parameter.default.span.text}"


@pytest.mark.parametrize(("section", "make"), [("primitives", primitives), ("prelude", blocks)])
def test_lists_are_made_from_the_code(section: str, make, request: pytest.FixtureRequest) -> None:  # type: ignore[no-untyped-def]
    text = PAGE.read_text(encoding="utf-8")
    pattern = rf"(<!-- {section}: [^\n]*-->\n).*?(<!-- end -->)"
    expected = re.sub(pattern, lambda match: f"{match[1]}{make()}\n{match[2]}", text, flags=re.DOTALL)
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
