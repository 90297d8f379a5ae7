"""The syntax tree: frozen dataclasses, each with the span that it was read from (which comparisons leave out)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from mncc.language.source import Source, Span


@dataclass(frozen=True)
class Tree:
    """Base of everything in the tree."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Name(Tree):
    """A variable, or a word where the place takes one."""

    text: str


@dataclass(frozen=True)
class Number(Tree):
    """A literal: an int where it is written as one."""

    value: int | float


@dataclass(frozen=True)
class Size(Tree):
    """`3x3`, `224x224x3`."""

    sizes: tuple[int, ...]


@dataclass(frozen=True)
class String(Tree):
    """A quoted text, or a word of a row that names no value."""

    text: str


@dataclass(frozen=True)
class Constant(Tree):
    """`true`, `false` or `none`."""

    value: bool | None


@dataclass(frozen=True)
class Tuple(Tree):
    """`(a, b)`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Product(Tree):
    """Sizes of a row or an input with `x` between them: `112 x 112 x 32`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Unary(Tree):
    """`-a` or `not a`."""

    operator: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Tree):
    """Arithmetic, comparison, `and` or `or`."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Conditional(Tree):
    """`then if condition else otherwise`."""

    then: Expr
    condition: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Attribute(Tree):
    """`value.name`."""

    value: Expr
    name: str


@dataclass(frozen=True)
class Index(Tree):
    """`value[index]`."""

    value: Expr
    index: Expr


@dataclass(frozen=True)
class Keyword(Tree):
    """`name=value` among arguments."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Arguments(Tree):
    """A bracket with arguments."""

    items: tuple[Expr | Keyword, ...]


@dataclass(frozen=True)
class Call(Tree):
    """`function(a, b)`."""

    function: Expr
    arguments: Arguments


@dataclass(frozen=True)
class Stride(Tree):
    """`/ s` in a stage."""

    value: Expr


@dataclass(frozen=True)
class Stage(Tree):
    """A word with its arguments, applied to what the arrow brings."""

    word: Name | String
    arguments: tuple[Expr | Arguments | Stride, ...]


@dataclass(frozen=True)
class Pipeline(Tree):
    """`value -> stage -> stage`."""

    value: Expr
    stages: tuple[Stage, ...]


Expr = (
    Name | Number | Size | String | Constant | Tuple | Product | Unary | Binary
    | Conditional | Attribute | Index | Call | Pipeline
)  # fmt: skip


@dataclass(frozen=True)
class Parameter(Tree):
    """A parameter of a network or a block; without a default it must be given."""

    name: str
    default: Expr | None


@dataclass(frozen=True)
class Return(Tree):
    """The block's result; several expressions make a tuple."""

    values: tuple[Expr, ...]


@dataclass(frozen=True)
class Export(Tree):
    """A value inside a block that `row(i)[j].name` reaches."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Assign(Tree):
    """`a = value`, or `a, b = value` for a tuple."""

    names: tuple[Name, ...]
    value: Expr


Statement = Return | Export | Assign


@dataclass(frozen=True)
class NetworkHeader(Tree):
    """`network name(parameters)`."""

    name: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Clause(Tree):
    """A word and its value in `input` and `defaults` lines."""

    name: str
    value: Expr


@dataclass(frozen=True)
class InputLine(Tree):
    """`input name: h x w x c`, with mean and std."""

    name: str
    dims: Product
    clauses: tuple[Clause, ...]


@dataclass(frozen=True)
class Rounding(Tree):
    """A clause of a `channels` line: `round`, `keep`, `min`, `last` with a value, or `truncate` without."""

    name: str
    value: Expr | None


@dataclass(frozen=True)
class ChannelsLine(Tree):
    """How a channel column is scaled and rounded."""

    value: Expr
    clauses: tuple[Rounding, ...]


@dataclass(frozen=True)
class DefaultsLine(Tree):
    """`defaults padding same epsilon 1e-3 activation relu6`."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True)
class Let(Tree):
    """`let name = value`."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Use(Tree):
    """Another network's body: `use mobilenet_v2(width = width) on image as backbone`."""

    word: Name | String
    arguments: Arguments | None
    on: Expr | None
    alias: str | None


@dataclass(frozen=True)
class BodyLine(Tree):
    """`body name from value`: the rows below belong to it and start from the value."""

    name: str | None
    start: Expr | None


@dataclass(frozen=True)
class OutputLine(Tree):
    """`output name = value`."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Block(Tree):
    """An operator: what its words mean, as a pipeline of primitives and other blocks."""

    words: tuple[Name | String, ...]
    parameters: tuple[Parameter, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class RowToken(Tree):
    """One token of a row; `kind` is the grammar's terminal."""

    kind: str
    text: str


@dataclass(frozen=True)
class RowGroup(Tree):
    """`( expression )` in a row."""

    value: Expr


@dataclass(frozen=True)
class Row(Tree):
    """A table's heading or one of its rows; `indent` counts the characters before its first token."""

    tokens: tuple[RowToken | RowGroup, ...]
    indent: int


@dataclass(frozen=True)
class Broken(Tree):
    """A line that could not be read (reported already) and the names that it would have defined."""

    kind: str
    names: tuple[str, ...]


Item = (
    NetworkHeader | InputLine | ChannelsLine | DefaultsLine | Let | Use | BodyLine | OutputLine | Block | Row | Broken
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """A whole file, its lines in order."""

    source: Source = field(compare=False, repr=False)
    items: tuple[Item, ...]


def children(tree: object) -> Iterator[Tree]:
    """The trees directly inside a tree, in order."""
    if isinstance(tree, Tree):
        for entry in fields(tree):
            yield from _trees(getattr(tree, entry.name))


def _trees(value: object) -> Iterator[Tree]:
    if isinstance(value, Tree):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _trees(item)


def show_tree(file: File) -> str:
    """The tree as text, a node a line, indented by its depth; ends with a line break."""
    lines = [f"File {file.source.name}"]
    for item in file.items:
        _show(item, 1, lines)
    return "\n".join(lines) + "\n"


def _show(tree: Tree, depth: int, lines: list[str]) -> None:
    if isinstance(tree, Row):
        line, column = tree.span.source.position(tree.span.start)
        tokens = " ".join(
            f"{token.kind}:{token.text}" if isinstance(token, RowToken) else "(...)" for token in tree.tokens
        )
        lines.append(f"{'  ' * depth}Row indent={tree.indent} {tokens}  @{line}:{column}")
        return
    facts = []
    for entry in fields(tree):
        value = getattr(tree, entry.name)
        if entry.name != "span" and not any(True for _ in _trees(value)) and value not in (None, ()):
            facts.append(f"{entry.name}={value!r}")
    line, column = tree.span.source.position(tree.span.start)
    lines.append(f"{'  ' * depth}{' '.join([type(tree).__name__, *facts])}  @{line}:{column}")
    for child in children(tree):
        _show(child, depth + 1, lines)
