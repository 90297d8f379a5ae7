"""A row's tokens to cells."""

from __future__ import annotations

import pytest

from mncc.language import DiagnosticError, Source, parse
from mncc.language import tree as t
from mncc.language.cells import Cells, group_count, read_heading, read_row, words_of

OPERATORS = [
    words_of(text) for text in ("conv2d", "conv2d 1x1", "Conv", "Conv dw", "bottleneck", "bottleneck with CSE")
]
PARAMETERS = {"t", "c", "s", "kernel", "exp_size", "SE"}


def row(text: str) -> t.Row:
    (item,) = parse(Source("x.mn", text)).items
    assert isinstance(item, t.Row)
    return item


def cells(text: str, heading: str | None = None, names: tuple[str, ...] = ("k",)) -> Cells:
    columns = read_heading(row(heading), PARAMETERS) if heading else None
    return read_row(row(text), columns, OPERATORS, names)


def shown(result: Cells) -> dict[str, str]:
    """Every cell as the file writes it."""
    found = {name: cell.span.text if cell.value is not None else "-" for name, cell in result.values.items()}
    return found | {kind: cell.span.text for kind, cell in result.shapes.items()}


def test_words_are_compared_token_by_token() -> None:
    assert words_of("conv2d 1x1") == words_of("Conv2D  1 × 1") == ("conv2d", "1", "x", "1")
    assert words_of("bneck, 3x3") == ("bneck", "3", "x", "3")


def test_the_longest_known_operator_wins() -> None:
    assert cells("bottleneck with CSE 2 64 4 2").text == "bottleneck with CSE"
    assert cells("conv2d 1x1 - k - -").words == ("conv2d", "1", "x", "1")
    assert cells("conv2d 3x3 - k - -").words == ("conv2d",)
    assert cells("CONV DW / s2 3x3x64 dw").text == "CONV DW"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("56^2 x 24 bottleneck 6 32 3 2", {"input": "56^2 x 24", "t": "6", "c": "32", "n": "3", "s": "2"}),
        ("bottleneck 6 32 3 2", {"t": "6", "c": "32", "n": "3", "s": "2"}),
        ("1x1x1280 conv2d 3x3 - k - -", {"input": "1x1x1280", "kernel": "3x3", "t": "-", "c": "k", "n": "-", "s": "-"}),
        (
            "Conv / s1 1 x 1 x 32 x 64 112 x 112 x 32",
            {"s": "/ s1", "filter": "1 x 1 x 32 x 64", "input": "112 x 112 x 32"},
        ),
        ("Conv dw/s2 3x3x64 dw", {"s": "/s2", "filter": "3x3x64 dw"}),
        ("Conv / s1 Pool 7 x 7 7 x 7 x 1024", {"s": "/ s1", "filter": "Pool 7 x 7", "input": "7 x 7 x 1024"}),
        ("Conv / s1 Classifier 1 x 1 x 1000", {"s": "/ s1", "filter": "Classifier", "input": "1 x 1 x 1000"}),
        ("Conv / s1", {"s": "/ s1"}),
        (
            "bottleneck (k * 2) k 1 (2 if k > 3 else 1)",
            {"t": "(k * 2)", "c": "k", "n": "1", "s": "(2 if k > 3 else 1)"},
        ),
    ],
)
def test_rows_without_a_heading_are_read_by_their_form(text: str, expected: dict[str, str]) -> None:
    assert shown(cells(text)) == expected


def test_a_heading_names_columns_by_the_parameters_of_blocks() -> None:
    result = cells("112² × 16 bottleneck 3x3 64 24 ✓ RE 2", "Input Operator exp size c SE NL s")
    assert shown(result) == {
        "input": "112² × 16", "kernel": "3x3", "exp_size": "64", "c": "24", "se": "✓", "nl": "RE", "s": "2",
    }  # fmt: skip
    assert result.values["se"].value == t.Constant(result.operator, True)
    assert result.values["nl"].value == t.String(result.operator, "RE")


def test_shapes_hold_together_and_apart() -> None:
    result = cells("224 ^ 2 x 3 conv2d - 32 1 2", "Input Operator t c n s")
    product = result.shapes["input"].value
    assert isinstance(product, t.Product)
    assert [item.value for item in product.items if isinstance(item, t.Number)] == [224, 224, 3]


@pytest.mark.parametrize(("text", "count"), [("5x conv2d - 8 1 1", 5), ("5 × Conv / s1", 5), ("12x", 12)])
def test_groups(text: str, count: int) -> None:
    found = group_count(row(text), {"k"})
    assert found is not None
    assert found[0] == count


@pytest.mark.parametrize("text", ["5x5 conv2d", "5 x k conv2d", "5 conv2d", "x conv2d", "5x(k) conv2d"])
def test_shapes_are_no_groups(text: str) -> None:
    assert group_count(row(text), {"k"}) is None


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("botleneck 6 32 3 2", "there is no operator `botleneck`"),
        ("bottleneck 6 32 3", "this row has no cell for the column `s`"),
        ("bottleneck 6 32 3 2 1", "this row has a cell too many: `1`"),
        ("bottleneck 6 32 3 2 /", "`/` does not belong to any cell of this row"),
    ],
)
def test_what_does_not_fit(text: str, title: str) -> None:
    with pytest.raises(DiagnosticError, match=title):
        cells(text)
