"""What can be wrong with a row before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mncc.language import tree as t
from mncc.language.diagnostic import Label
from mncc.language.errors import AtSpan
from mncc.language.lines import HEADER_WORDS
from mncc.language.source import Span


@dataclass(frozen=True)
class RowError(AtSpan):
    """Base of the errors of rows."""


@dataclass(frozen=True)
class DuplicateColumn(RowError):
    """A heading names a column twice."""

    name: str

    @property
    def title(self) -> str:
        return f"this heading has two columns `{self.name}`"

    @property
    def help(self) -> str:
        return "remove one of them from the heading and from every row"


@dataclass(frozen=True)
class UnknownColumn(RowError):
    """A heading names a column that no block has a parameter for."""

    name: str
    near: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"no operator of this table takes a parameter `{self.name}`"

    @property
    def help(self) -> str:
        if self.near:
            return f"did you mean {_one_of(self.near)}?"
        return f"give the block that needs it a parameter `{self.name}`, or remove the column"


@dataclass(frozen=True)
class OnlySquares(RowError):
    """A power other than a square."""

    @property
    def title(self) -> str:
        return f"expected `^2` or `²`, found `{self.span.text}`"

    @property
    def help(self) -> str:
        return "write the sizes out: `8 x 8 x 8`"


@dataclass(frozen=True)
class StrayToken(RowError):
    """A sign that belongs to no cell."""

    text: str

    @property
    def title(self) -> str:
        return f"`{self.text}` does not belong to any cell of this row"

    @property
    def help(self) -> str:
        if self.text == "/":
            return "a stride behind an operator is written `/ s2`"
        return "a shape is written `112 x 112 x 32` or `112^2 x 32`; an empty cell is `-`"


@dataclass(frozen=True)
class UnknownOperator(RowError):
    """The row has no operator that a block defines."""

    name: str
    near: tuple[str, ...]
    header: str | None
    parameters: tuple[str, ...] = ("c", "s = 1")
    """What a block for it would take."""

    @property
    def title(self) -> str:
        if not self.name:
            return "expected an operator in this row, found none"
        return f"there is no operator `{self.name}`"

    @property
    def help(self) -> str:
        if self.header:
            return f"did you mean the line `{self.header} ...`?"
        if self.near:
            return f"did you mean {_one_of(self.near)}?"
        if not self.name:
            return "type the operator's word in its column, for example `bottleneck`"
        quoted = self.name if self.name.isidentifier() else f'"{self.name}"'
        return f"define it: `block {quoted}({', '.join(self.parameters)}):` with `return x -> ...` below"


@dataclass(frozen=True)
class MissingCell(RowError):
    """The row has fewer cells than its table has columns."""

    column: str
    columns: tuple[str, ...]
    found: int

    @property
    def title(self) -> str:
        return f"this row has no cell for the column `{self.column}`"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"expected {' '.join(self.columns)}"),)

    @property
    def help(self) -> str:
        return "type `-` for an empty cell"


@dataclass(frozen=True)
class ExtraCell(RowError):
    """The row has more cells than its table has columns."""

    row: Span
    columns: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"this row has a cell too many: `{self.span.text}`"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"the columns are {' '.join(self.columns)}"),)

    @property
    def help(self) -> str:
        return "remove the cell, or add its column to the heading"


@dataclass(frozen=True)
class MisplacedCell(RowError):
    """A cell that cannot stand in its column."""

    column: str
    kind: str
    columns: tuple[str, ...]

    @property
    def title(self) -> str:
        wanted = {
            "operator": "an operator",
            "input": "a shape such as `112 x 112 x 32`",
            "output": "a shape such as `112 x 112 x 32`",
            "filter": "a filter such as `3 x 3 x 32`",
        }.get(self.kind, "a number, a word or `-`")
        return f"expected {wanted} for the column `{self.column}`, found `{self.span.text}`"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"the columns are {' '.join(self.columns)}"),)

    @property
    def help(self) -> str:
        if self.span.text.startswith("/"):
            return "a quotient stands in brackets, `(k / 2)`; a stride stands behind the operator, `/ s2`"
        return "type `-` for an empty cell, and check that no cell before this one is missing"


@dataclass(frozen=True)
class EmptyGroup(RowError):
    """`5x` with nothing to repeat."""

    @property
    def title(self) -> str:
        return f"this group has no rows to repeat: `{self.span.text}`"

    @property
    def help(self) -> str:
        return "indent the rows below it, or write the row behind it"


@dataclass(frozen=True)
class LongRow(RowError):
    """A row with more tokens than any table has."""

    limit: int

    @property
    def title(self) -> str:
        return f"this row has more than {self.limit} words and numbers"

    @property
    def help(self) -> str:
        return "a row is one line of a table; check that the lines of the file were kept"


def unknown_operator(
    row: t.Row, words: Sequence[tuple[Span, str]], operators: Collection[tuple[str, ...]], alike: float = 0.6
) -> UnknownOperator:
    """The diagnostic for a row without a known operator; `words` are the words that it has.

    `alike` is how much a known operator must resemble them to be suggested (difflib's ratio).
    """
    if not words:
        return UnknownOperator(row.span, "", (), None)
    run = [words[0]]
    for word in words[1:]:
        between = row.span.source.text[run[-1][0].end : word[0].start]
        if between.strip():
            break
        run.append(word)
    name = " ".join(text for _, text in run)
    known = {" ".join(w): w for w in operators}
    near = get_close_matches(name.lower(), known, 3, alike)
    near = near or get_close_matches(run[0][1].lower(), known, 3, max(alike, 0.7))
    header = get_close_matches(run[0][1].lower(), [*HEADER_WORDS, "block"], 1, 0.8) if not near else []
    if header:
        return UnknownOperator(run[0][0], run[0][1], (), header[0])
    return UnknownOperator(run[0][0].to(run[-1][0]), name, tuple(near[:2]), None)


def undefined_operator(span: Span, columns: Sequence[str]) -> UnknownOperator:
    """The diagnostic for words that only together can be the row's operator; `columns` are the table's values."""
    parameters = tuple("s = 1" if column == "s" else column for column in columns if column != "n")
    return UnknownOperator(span, " ".join(span.text.split()), (), None, parameters)


def _one_of(names: tuple[str, ...]) -> str:
    return " or ".join(f"`{name}`" for name in names)
