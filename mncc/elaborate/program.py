"""A file sorted out: its header, blocks, tables and outputs, before any value is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mncc.elaborate import errors
from mncc.elaborate.channels import ChannelRule
from mncc.elaborate.check_blocks import check_block
from mncc.elaborate.evaluate import names_in
from mncc.elaborate.settings import GENERAL
from mncc.language import row_errors
from mncc.language import tree as t
from mncc.language.cells import MAX_TOKENS, Cells, Column, Words, group_count, read_heading, read_row, words_of
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.language.parse import parse
from mncc.language.resources import data_folder
from mncc.language.source import Source, Span

MAX_REPEATS = 1000
MAIN_BODY = "body"


@dataclass(frozen=True)
class TableRow:
    """A row of a table; `cells` is None where it could not be read (and was reported)."""

    row: t.Row | t.Broken
    cells: Cells | None
    index: int


@dataclass(frozen=True)
class Group:
    """Rows that are repeated together; most groups are one row, once."""

    count: int
    rows: tuple[TableRow, ...]


@dataclass
class Table:
    """The rows between two `body` lines."""

    name: str
    start: t.Expr | None
    span: Span | None
    groups: list[Group] = field(default_factory=list)

    @property
    def rows(self) -> list[TableRow]:
        """All rows, in order."""
        return [row for group in self.groups for row in group.rows]


@dataclass
class Program:
    """What the lines of a file define. Names of broken lines are known, so that they are not reported again."""

    file: t.File
    network: t.NetworkHeader | None = None
    inputs: dict[str, t.InputLine] = field(default_factory=dict)
    rules: list[t.ChannelsLine] = field(default_factory=list)
    defaults: list[t.Clause] = field(default_factory=list)
    lets: dict[str, t.Let] = field(default_factory=dict)
    uses: dict[str, t.Use] = field(default_factory=dict)
    outputs: dict[str, t.OutputLine] = field(default_factory=dict)
    blocks: dict[Words, t.Block] = field(default_factory=dict)
    own_blocks: list[t.Block] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    broken_operators: set[Words] = field(default_factory=set)
    broken_columns: set[str] = field(default_factory=set)
    """The bodies whose heading has a column that nothing takes."""
    channel_rules: dict[str, ChannelRule] = field(default_factory=dict)

    @property
    def parameters(self) -> Mapping[str, t.Parameter]:
        """The network's parameters by name."""
        return {p.name: p for p in self.network.parameters} if self.network else {}

    @property
    def start(self) -> Span:
        """The beginning of the file, for errors about what it lacks."""
        return Span(self.file.source, 0, 0)


@lru_cache(maxsize=1)
def prelude() -> Mapping[Words, t.Block]:
    """The blocks that every file knows, by operator words."""
    path = data_folder("grammar") / "prelude.mn"
    file = parse(Source(path.name, path.read_text(encoding="utf-8")))
    return {words_of(word.text): block for block in file.items if isinstance(block, t.Block) for word in block.words}


def read_program(file: t.File, found: list[Diagnostic]) -> Program:
    """Sorts the lines of a file; what is wrong with them goes to `found`."""
    program = Program(file)
    program.blocks.update(prelude())
    _Sorter(program, found).sort()
    return program


class _Sorter:
    def __init__(self, program: Program, found: list[Diagnostic]) -> None:
        self.program, self.found = program, found
        self.spans: dict[tuple[str, str], Span] = {}
        self.rows: dict[str, list[t.Row | t.Broken]] = {}
        self.current: str | None = None

    def sort(self) -> None:
        program = self.program
        for item in program.file.items:
            self._item(item)
        if program.network is None and "network" not in program.broken:
            form = "network NAME(width = 1.0, resolution = 224, classes = 1000)"
            self.found.append(errors.MissingLine(program.start, "`network` line", form))
        if program.network is not None:
            # Without it the parameters are not known, and every name would be reported.
            for line in program.rules:
                self._clauses(line)
            self._check_blocks()
        self._tables()

    def _check_blocks(self) -> None:
        """Checks the file's own blocks; rows that use a wrong one are passed over."""
        p = self.program
        names = {*p.parameters, *GENERAL, *p.lets, *p.inputs, *p.uses, *p.broken, MAIN_BODY, *self.rows}
        operators = {*p.blocks, *p.broken_operators}
        for block in p.own_blocks:
            wrong = check_block(block, names, operators)
            if wrong:
                self.found += wrong
                p.broken_operators.update(words_of(word.text) for word in block.words)

    def _define(self, kind: str, name: str, span: Span) -> bool:
        """Notes a definition; reports it where the name is taken."""
        first = self.spans.setdefault((kind, name), span)
        if first is not span:
            self.found.append(errors.DuplicateName(kind, name, first, span))
        return first is span

    def _identifier(self, name: str, span: Span) -> None:
        """Names of the network and its tensors go into a C header."""
        if not name.isascii():
            self.found.append(errors.NotAnIdentifier(span, name))

    def _item(self, item: t.Item) -> None:
        program = self.program
        match item:
            case t.NetworkHeader():
                if self._define("line", "network", item.span):
                    self._identifier(item.name, item.span)
                    program.network = item
                    for parameter in item.parameters:
                        self._define("name", parameter.name, parameter.span)
            case t.InputLine():
                if self._define("name", item.name, item.span) and self._define("tensor", item.name, item.span):
                    self._identifier(item.name, item.span)
                    program.inputs[item.name] = item
            case t.DefaultsLine():
                program.defaults += item.clauses
            case t.Let():
                if self._define("name", item.name, item.span):
                    program.lets[item.name] = item
            case t.Use():
                name = item.alias or item.word.text.rsplit("/", 1)[-1].removesuffix(".mn")
                if self._define("name", name, item.span):
                    program.uses[name] = item
            case t.OutputLine():
                if self._define("tensor", item.name, item.span):
                    self._identifier(item.name, item.span)
                    program.outputs[item.name] = item
            case t.ChannelsLine():
                program.rules.append(item)
            case t.Block():
                self._block(item)
            case t.BodyLine():
                self._table(item.name or MAIN_BODY, item.start, item.span)
            case t.Row():
                self._add_row(item)
            case t.Broken():
                self._broken(item)

    def _broken(self, item: t.Broken) -> None:
        if item.kind == "row":
            self._add_row(item)
        elif item.kind == "block":
            self.program.broken_operators.update(words_of(name) for name in item.names)
        else:
            self.program.broken.update(item.names)
            first_word = item.span.text.split(maxsplit=1)[0] if item.span.text.split() else ""
            self.program.broken.add(first_word)

    def _block(self, block: t.Block) -> None:
        for word in block.words:
            key = words_of(word.text)
            if key and self._define("operator", " ".join(key), word.span):
                self.program.blocks[key] = block
        names: dict[str, Span] = {}
        for parameter in block.parameters:
            if parameter.name in names:
                first = names[parameter.name]
                self.found.append(errors.DuplicateName("parameter", parameter.name, first, parameter.span))
            names[parameter.name] = parameter.span
        self.program.own_blocks.append(block)

    def _table(self, name: str, start: t.Expr | None, span: Span | None) -> None:
        if span is None or self._define("body", name, span):
            self.program.tables[name] = Table(name, start, span)
            self.rows[name] = []
        self.current = name

    def _add_row(self, row: t.Row | t.Broken) -> None:
        if self.current is None:
            self._table(MAIN_BODY, None, None)
        assert self.current is not None
        self.rows[self.current].append(row)

    # ------------------------------------------------------------ channels
    def _clauses(self, line: t.ChannelsLine) -> None:
        """The rule of a channels line; its column is the one name in it that nothing else defines."""
        program = self.program
        defined = {*program.parameters, *program.lets, *program.broken}
        free = [name for name in names_in(line.value) if name not in defined]
        if len(free) != 1:
            found = ", ".join(f"`{name}`" for name in free) or "none"
            hint = "write `channels c * width`, with `c` the column's name and `width` a parameter"
            expected = "exactly one name that is a column of the table"
            self.found.append(errors.WrongType(line.value.span, "the `channels` line", expected, found, hint))
            return
        values: dict[str, float] = {}
        for clause in line.clauses:
            word, tree = clause.name, clause.value
            if tree is None:
                values[word] = 1
            elif isinstance(tree, t.Number) and (word == "keep" or (isinstance(tree.value, int) and tree.value >= 1)):
                values[word] = tree.value
            else:
                expected = "a number" if word == "keep" else "a whole number of at least 1"
                self.found.append(errors.WrongType(tree.span, f"`{word}`", expected, f"`{tree.span.text}`"))
        whole = {word: int(value) for word, value in values.items()}
        program.channel_rules[free[0].lower()] = ChannelRule(
            free[0], line.value, "truncate" in values, whole.get("round"), values.get("keep", 0.0),
            whole.get("min", 1), whole.get("last"),
        )  # fmt: skip

    # ------------------------------------------------------------ tables
    def _tables(self) -> None:
        program = self.program
        names = {*program.parameters, *program.lets, *program.broken}
        operators = {*program.blocks, *program.broken_operators}
        taken = {p.name for block in program.blocks.values() for p in block.parameters}
        known = {"kernel", "s", "n", *(p.lower() for p in taken)}
        for name, rows in self.rows.items():
            reader = _TableReader(operators, names, taken, self.found)
            program.tables[name].groups = reader.groups(rows)
            for column in reader.headings:
                if column.kind == "value" and column.name not in known and column.span is not None:
                    near = errors.nearest(column.name, known)
                    program.broken_columns.add(name)
                    self.found.append(row_errors.UnknownColumn(column.span, column.span.text, near))


class _TableReader:
    """Headings, groups and rows of one table."""

    def __init__(
        self, operators: Iterable[Words], names: set[str], parameters: set[str], found: list[Diagnostic]
    ) -> None:
        self.operators, self.names, self.parameters, self.found = set(operators), names, parameters, found
        self.columns: tuple[Column, ...] | None = None
        self.headings: list[Column] = []
        self.index = 0

    def groups(self, rows: list[t.Row | t.Broken]) -> list[Group]:
        groups: list[Group] = []
        open_group: tuple[int, int, list[TableRow]] | None = None
        opened: Span | None = None
        for row in rows:
            if isinstance(row, t.Row) and (_is_rule(row) or self._heading(row)):
                continue
            marker = group_count(row, self.names) if isinstance(row, t.Row) else None
            indent = row.indent if isinstance(row, t.Row) else 0
            if open_group is not None and (marker is not None or indent <= open_group[1]):
                self._close(groups, open_group[0], open_group[2], opened)
                open_group = None
            if marker is not None:
                count, rest = marker
                members: list[TableRow] = []
                open_group = (self._count(count, row.span), indent, members)
                opened = row.span
                if rest.tokens:
                    members.append(self._row(rest))
            elif open_group is not None:
                open_group[2].append(self._row(row))
            else:
                groups.append(Group(1, (self._row(row),)))
        if open_group is not None:
            self._close(groups, open_group[0], open_group[2], opened)
        return groups

    def _close(self, groups: list[Group], count: int, rows: list[TableRow], opened: Span | None) -> None:
        """Adds a finished group; reports one that got no rows."""
        if rows:
            groups.append(Group(count, tuple(rows)))
        elif opened is not None:
            self.found.append(row_errors.EmptyGroup(opened))

    def _count(self, count: int, span: Span) -> int:
        if 1 <= count <= MAX_REPEATS:
            return count
        expected, hint = f"1 to {MAX_REPEATS} repeats", "type for example `5x`"
        self.found.append(errors.WrongType(span, "a group", expected, str(count), hint))
        return 1

    def _heading(self, row: t.Row) -> bool:
        if len(row.tokens) > MAX_TOKENS:
            self.found.append(row_errors.LongRow(row.span, MAX_TOKENS))
            return True
        try:
            columns = read_heading(row, self.parameters)
        except DiagnosticError as error:
            self.found.extend(error.diagnostics)
            return True
        if columns is not None:
            self.columns = columns
            self.headings += columns
        return columns is not None

    def _row(self, row: t.Row | t.Broken) -> TableRow:
        self.index += 1
        cells = None
        if isinstance(row, t.Row):
            try:
                cells = read_row(row, self.columns, self.operators, self.names)
            except DiagnosticError as error:
                self.found.extend(error.diagnostics)
        return TableRow(row, cells, self.index - 1)


def _is_rule(row: t.Row) -> bool:
    """Whether a row only draws a line, as tables in Markdown and LaTeX have them."""
    return all(isinstance(token, t.RowToken) and token.kind == "DASH" for token in row.tokens)
