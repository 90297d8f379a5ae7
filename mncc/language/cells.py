"""A row's tokens to the cells of its columns.

Rows come out of PDFs with single spaces, so columns are not positions: a heading (or the form of the row) says
which cells follow each other, the known operator words say where an operator ends, and an `x` between two numbers
holds a shape together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mncc.language import row_errors as errors
from mncc.language import tree as t
from mncc.language.diagnostic import DiagnosticError
from mncc.language.source import Span

Words = tuple[str, ...]
"""An operator's words in lower case, one token each: ("conv2d", "1", "x", "1")."""

ColumnKind = Literal["operator", "input", "output", "filter", "value"]

_COLUMNS: Mapping[str, tuple[ColumnKind, str]] = {
    "operator": ("operator", "operator"),
    "type": ("operator", "operator"),
    "layer": ("operator", "operator"),
    "type / stride": ("operator", "operator"),
    "operator / stride": ("operator", "operator"),
    "layer / stride": ("operator", "operator"),
    "input": ("input", "input"),
    "input size": ("input", "input"),
    "input shape": ("input", "input"),
    "output": ("output", "output"),
    "output size": ("output", "output"),
    "output shape": ("output", "output"),
    "filter shape": ("filter", "filter"),
    "filter": ("filter", "filter"),
    "stride": ("value", "s"),
    "repeat": ("value", "n"),
}
"""Headings with a meaning of their own; every other one is the parameter of that name."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its name is the parameter that its cells give."""

    kind: ColumnKind
    name: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Cell:
    """What a row gives for a column: an expression, or None for `-`."""

    value: t.Expr | None
    span: Span = field(compare=False)

    @property
    def bracketed(self) -> bool:
        """Whether it is an expression in brackets, which `channels` does not scale."""
        return self.span.text.startswith("(")


@dataclass(frozen=True)
class Cells:
    """A row that has been read: its operator and what it gives for every column."""

    words: Words
    text: str
    """The operator as the file writes it, with single spaces."""
    operator: Span = field(compare=False)
    """The operator words, with the stride where it stands behind them."""
    values: Mapping[str, Cell]
    """Parameter -> cell, for the value columns, a size behind the operator (`kernel`) and a `/ s2` (`s`)."""
    shapes: Mapping[ColumnKind, Cell]
    """The declared `input`, `output` and `filter`."""


@dataclass(frozen=True)
class _Item:
    """Tokens that belong to one cell."""

    kind: Literal["operator", "shape", "scalar", "none", "word", "stride"]
    value: t.Expr | None
    span: Span
    words: Words = ()


MAX_TOKENS = 200
"""Tokens of a row; the longest published ones have 30."""


def words_of(text: str) -> Words:
    """The tokens of an operator's words, as they are compared: `conv2d 1x1` is ("conv2d", "1", "x", "1")."""
    pattern = r"\d+(?:\.\d+)?|(?<=\d)x|(?<!\w)x(?!\w)|[^\W\d]\w*(?:[-.][^\W\d]\w*)*|[^\s$|&{},;:]"
    return tuple(re.findall(pattern, text.lower().replace("×", "x")))


# ---------------------------------------------------------------- headings
def read_heading(row: t.Row, parameters: Collection[str]) -> tuple[Column, ...] | None:
    """The columns where `row` is a heading (it has no numbers and names an operator column), else None.

    `parameters` are those of all blocks in scope: `exp size` is one column where a block takes `exp_size`.
    """
    texts = [token.text.lower() if isinstance(token, t.RowToken) else "(" for token in row.tokens]
    kinds = {token.kind if isinstance(token, t.RowToken) else "GROUP" for token in row.tokens}
    if not kinds <= {"WORD", "SLASH", "STRING", "TIMES"} or not any(t in ("operator", "type", "layer") for t in texts):
        return None
    known: dict[str, tuple[ColumnKind, str]] = dict(_COLUMNS)
    known.update((p.lower().replace("_", " "), ("value", p.lower())) for p in parameters)
    columns: list[Column] = []
    start = 0
    while start < len(texts):
        for stop in range(min(len(texts), start + 4), start, -1):
            name = " ".join(texts[start:stop]).strip('"')
            if name in known or stop == start + 1:
                kind, parameter = known.get(name, ("value", name.replace(" ", "_")))
                span = row.tokens[start].span.to(row.tokens[stop - 1].span)
                columns.append(Column(kind, parameter, span))
                start = stop
                break
    for i, column in enumerate(columns):
        if column.name in [earlier.name for earlier in columns[:i]]:
            assert column.span is not None
            raise DiagnosticError([errors.DuplicateColumn(column.span, column.span.text)])
    return tuple(columns)


# ---------------------------------------------------------------- rows
def group_count(row: t.Row, names: Collection[str]) -> tuple[int, t.Row] | None:
    """The count of a group that the row opens (`5x`) and the rest of the row; None where it opens none."""
    first = row.tokens[:2]
    kinds = [token.kind for token in first if isinstance(token, t.RowToken)]
    if kinds != ["NUMBER", "TIMES"] or not first[0].span.text.isdigit():
        return None
    rest = row.tokens[2:]
    if rest and (isinstance(rest[0], t.RowGroup) or rest[0].kind == "NUMBER" or rest[0].text in names):
        return None
    span = rest[0].span.to(rest[-1].span) if rest else row.span
    return int(first[0].span.text), t.Row(span, rest, row.indent)


def read_row(
    row: t.Row, columns: tuple[Column, ...] | None, operators: Collection[Words], names: Collection[str]
) -> Cells:
    """The cells of a row. Raises DiagnosticError for an unknown operator and missing, extra or misplaced cells.

    Without columns the row's form decides: a stride behind the operator makes it `Type / Stride, Filter Shape,
    Input Size`, else it is `Input, Operator, t, c, n, s`. `names` are the values that a cell can name.
    """
    items = _items(row, operators, names)
    if columns is None:
        columns = _columns_by_form(items)
    return _Alignment(row, columns, items, operators).cells()


def _columns_by_form(items: Sequence[_Item]) -> tuple[Column, ...]:
    operator = Column("operator", "operator")
    shape = Column("input", "input")
    if any(item.kind == "stride" for item in items):
        rest = [item for item in items if item.kind not in ("operator", "stride")]
        if not rest:
            return (operator,)
        last = rest[-1].value
        picture = len(rest) > 1 and isinstance(last, t.Product) and len(last.items) == 3
        return (operator, Column("filter", "filter"), *([shape] if picture else []))
    values = tuple(Column("value", name) for name in "tcns")
    if items and items[0].kind == "shape":
        return (shape, operator, *values)
    return (operator, *values)


def _items(row: t.Row, operators: Collection[Words], names: Collection[str]) -> list[_Item]:
    items: list[_Item] = []
    position = 0
    while position < len(row.tokens):
        token = row.tokens[position]
        matched = 0 if any(item.kind == "operator" for item in items) else _match(row.tokens, position, operators)
        if matched:
            part = row.tokens[position : position + matched]
            words = tuple(_text(each) for each in part)
            items.append(_Item("operator", None, part[0].span.to(part[-1].span), words))
            position += matched
        elif _is_factor(token, names):
            item, position = _shape(row.tokens, position, names)
            items.append(item)
        else:
            item, position = _single(row.tokens, position)
            items.append(item)
    return items


def _text(token: t.RowToken | t.RowGroup) -> str:
    if isinstance(token, t.RowGroup):
        return "("
    return "x" if token.kind == "TIMES" else token.text.lower()


def _match(tokens: Sequence[t.RowToken | t.RowGroup], start: int, operators: Collection[Words]) -> int:
    """How many tokens from `start` are the longest known operator; 0 where none begins here."""
    first = tokens[start]
    if isinstance(first, t.RowGroup) or first.kind not in ("WORD", "NUMBER"):
        return 0
    best = 0
    for words in operators:
        if len(words) > best and tuple(_text(token) for token in tokens[start : start + len(words)]) == words:
            best = len(words)
    return best


def _is_factor(token: t.RowToken | t.RowGroup, names: Collection[str]) -> bool:
    if isinstance(token, t.RowGroup):
        return True
    return token.kind == "NUMBER" or (token.kind == "WORD" and token.text in names)


def _shape(tokens: Sequence[t.RowToken | t.RowGroup], start: int, names: Collection[str]) -> tuple[_Item, int]:
    """A number, or numbers held together by `x`; a square counts twice."""
    factors: list[t.Expr] = []
    position = start
    while True:
        token = tokens[position]
        factor: t.Expr = token.value if isinstance(token, t.RowGroup) else _scalar(token)
        factors.append(factor)
        position += 1
        squared = _squared(tokens, position)
        factors.extend([factor] * (squared > 0))
        position += squared
        following = tokens[position : position + 2]
        if len(following) < 2 or _text(following[0]) != "x" or not _is_factor(following[1], names):
            break
        position += 1
    span = tokens[start].span.to(tokens[position - 1].span)
    if len(factors) == 1:
        return _Item("scalar", factors[0], span), position
    return _Item("shape", t.Product(span, tuple(factors)), span), position


def _scalar(token: t.RowToken) -> t.Expr:
    if token.kind == "WORD":
        return t.Name(token.span, token.text)
    return t.Number(token.span, int(token.text) if token.text.isdigit() else float(token.text))


def _squared(tokens: Sequence[t.RowToken | t.RowGroup], position: int) -> int:
    """How many tokens say `squared` at a position."""
    kinds = [token.kind for token in tokens[position : position + 2] if isinstance(token, t.RowToken)]
    if kinds[:1] == ["SQUARED"]:
        return 1
    if kinds[:1] != ["POWER"]:
        return 0
    if kinds != ["POWER", "NUMBER"] or _text(tokens[position + 1]) != "2":
        last = tokens[min(position + 1, len(tokens) - 1)]
        raise DiagnosticError([errors.OnlySquares(tokens[position].span.to(last.span))])
    return 2


def _single(tokens: Sequence[t.RowToken | t.RowGroup], position: int) -> tuple[_Item, int]:
    token = tokens[position]
    assert isinstance(token, t.RowToken)
    if token.kind == "DASH":
        return _Item("none", None, token.span), position + 1
    if token.kind == "CHECK":
        return _Item("scalar", t.Constant(token.span, True), token.span), position + 1
    if token.kind == "STRING":
        return _Item("word", t.String(token.span, token.text.strip('"')), token.span), position + 1
    if token.kind == "SLASH" and position + 1 < len(tokens):
        following = tokens[position + 1]
        value = re.fullmatch(r"[sS]?(\d{1,9})", following.span.text)
        if value:
            span = token.span.to(following.span)
            return _Item("stride", t.Number(following.span, int(value[1])), span), position + 2
        if isinstance(following, t.RowGroup):
            return _Item("stride", following.value, token.span.to(following.span)), position + 2
    if token.kind == "WORD":
        return _Item("word", t.String(token.span, token.text), token.span), position + 1
    raise DiagnosticError([errors.StrayToken(token.span, token.text)])


class _Alignment:
    """Finds which items make which column's cell, by backtracking over the few choices there are."""

    def __init__(
        self, row: t.Row, columns: tuple[Column, ...], items: list[_Item], operators: Collection[Words]
    ) -> None:
        self.row, self.columns, self.items, self.operators = row, columns, items, operators
        self.furthest = (0, 0)
        self.dead: set[tuple[int, int]] = set()

    def cells(self) -> Cells:
        lengths = self._align(0, 0)
        if lengths is None:
            raise DiagnosticError([self._misfit()])
        values: dict[str, Cell] = {}
        shapes: dict[ColumnKind, Cell] = {}
        operator: list[_Item] = []
        start = 0
        for column, length in zip(self.columns, lengths, strict=True):
            part = self.items[start : start + length]
            start += length
            if column.kind == "operator":
                operator = part
            elif column.kind == "value":
                values[column.name] = Cell(part[0].value, part[0].span)
            else:
                value = next((item.value for item in part if item.kind in ("shape", "scalar")), None)
                shapes[column.kind] = Cell(value, part[0].span.to(part[-1].span))
        return self._with_operator(operator, values, shapes)

    def _with_operator(self, operator: list[_Item], values: dict[str, Cell], shapes: dict[ColumnKind, Cell]) -> Cells:
        words, *rest = operator
        end = words.span
        for item in rest:
            name = "s" if item.kind == "stride" else "kernel"
            values.setdefault(name, Cell(item.value, item.span))
            end = item.span if item.kind == "stride" else end
        text = " ".join(words.span.text.split())
        return Cells(words.words, text, words.span.to(end), values, shapes)

    def _align(self, column: int, item: int) -> tuple[int, ...] | None:
        """The number of items of every column from `column` on; None where nothing fits."""
        if (column, item) in self.dead:
            return None
        self.furthest = max(self.furthest, (column, item))
        if column == len(self.columns):
            if item == len(self.items):
                return ()
        else:
            for length in self._lengths(self.columns[column].kind, item):
                rest = self._align(column + 1, item + length)
                if rest is not None:
                    return (length, *rest)
        self.dead.add((column, item))
        return None

    def _lengths(self, kind: ColumnKind, start: int) -> Iterator[int]:
        """How many items from `start` can be a cell of this kind, the longest first."""
        kinds = [item.kind for item in self.items[start:]]
        if not kinds:
            return
        if kind == "value":
            if kinds[0] in ("scalar", "none", "word", "shape"):
                yield 1
        elif kind == "operator":
            if kinds[0] == "operator":
                yield from range(1 + self._behind_operator(start + 1), 0, -1)
        elif kind == "filter":
            longest = 0
            while longest < len(kinds) and kinds[longest] in ("word", "shape") and kinds[:longest].count("shape") < 2:
                longest += 1
            yield from (n for n in range(longest, 0, -1) if kinds[:n].count("shape") <= 1)
            if kinds[0] in ("none", "scalar"):
                yield 1
        elif kinds[0] in ("shape", "none", "scalar"):
            yield 1

    def _behind_operator(self, start: int) -> int:
        """How many items from `start` can belong to the operator: a stride, and a kernel where no column has it."""
        allowed = {"stride"} if any(column.kind == "filter" for column in self.columns) else {"stride", "shape"}
        count = 0
        for item in self.items[start : start + 2]:
            kernel = isinstance(item.value, t.Product) and len(item.value.items) == 2
            if item.kind not in allowed or (item.kind == "shape" and not kernel):
                break
            allowed.discard(item.kind)
            count += 1
        return count

    def _longer_operator(self, operator: int) -> errors.RowError | None:
        """The diagnostic for `Conv dww`, more likely a misspelt operator than `Conv` and a cell that does not fit, and
        for `bottleneck with CSE`, where the row fits once these words are one operator. None for all others."""
        if [item.kind for item in self.items[operator + 1 : operator + 2]] == ["word"]:
            run = self.items[operator : operator + 2]
            longer = errors.unknown_operator(self.row, [(w.span, w.span.text) for w in run], self.operators, 0.8)
            if longer.near and longer.near[0] != " ".join(self.items[operator].words):
                return longer
        first, last = operator, operator + 1
        while first > 0 and self.items[first - 1].kind == "word":
            first -= 1
        while last < len(self.items) and self.items[last].kind == "word":
            last += 1
        run = self.items[first:last]
        rest = [*self.items[:first], self.items[operator], *self.items[last:]]
        if len(run) == 1 or _Alignment(self.row, self.columns, rest, self.operators)._align(0, 0) is None:
            return None
        columns = [column.name for column in self.columns if column.kind == "value"]
        return errors.undefined_operator(run[0].span.to(run[-1].span), columns)

    def _misfit(self) -> errors.RowError:
        words = [item for item in self.items if item.kind == "word"]
        operator = next((i for i, item in enumerate(self.items) if item.kind == "operator"), None)
        if operator is None:
            return errors.unknown_operator(self.row, [(w.span, w.span.text) for w in words], self.operators)
        longer = self._longer_operator(operator)
        if longer is not None:
            return longer
        column, item = self.furthest
        names = tuple(c.name for c in self.columns)
        if column == len(self.columns):
            return errors.ExtraCell(self.items[item].span, self.row.span, names)
        if item >= len(self.items):
            return errors.MissingCell(self.row.span, self.columns[column].name, names, len(self.items))
        return errors.MisplacedCell(self.items[item].span, self.columns[column].name, self.columns[column].kind, names)
