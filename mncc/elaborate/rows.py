"""A table's rows, one after the other: cells to the parameters of a block, repeats, and what the table declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mncc.elaborate import errors, shape_errors
from mncc.elaborate.builder import Builder, join_name
from mncc.elaborate.evaluate import Evaluator, Place, Scope
from mncc.elaborate.facts import RowFacts
from mncc.elaborate.misprints import is_known_misprint
from mncc.elaborate.program import MAIN_BODY, MAX_REPEATS, Table, TableRow
from mncc.elaborate.values import BodyResult, Declared, RowResult, Tensor, Value, as_tensor, as_whole, describe
from mncc.language import tree as t
from mncc.language.cells import Cell, Cells
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.network.graph import Origin
from mncc.network.types import TensorType

if TYPE_CHECKING:
    from mncc.elaborate.run import Run


class RowRunner:
    """Runs the rows of one table. In a nominal run a row that fails is skipped where the next declares its input."""

    def __init__(self, run: Run, table: Table) -> None:
        self.run_, self.table = run, table
        self.evaluator = run.evaluator
        self.last, self.classifier = self._last_rows()

    # ------------------------------------------------------------ which rows count channels
    def _counted(self, row: TableRow) -> t.Expr | None:
        """The expression of the row's channel count, None where it has none."""
        if row.cells is None:
            return None
        for column in self.run_.program.channel_rules or ("c",):
            cell = row.cells.values.get(column)
            if cell is not None and cell.value is not None:
                return cell.value
        block = self.run_.program.blocks.get(row.cells.words)
        parts = self._filter(row.cells, block) if block is not None else {}
        return parts.get("c")

    def _last_rows(self) -> tuple[int, int]:
        """The last row with a channel count before the classifier, and the classifier; -1 where there is none."""
        counted = [(row.index, tree) for row in self.table.rows if (tree := self._counted(row)) is not None]
        if not counted:
            return -1, -1
        name = self.run_.class_parameter()
        index, tree = counted[-1]
        named = self.run_.mentions(tree, name) if name else isinstance(tree, t.Name) and self._is_alias(tree)
        if named or (name is not None and not self._says_classes(name) and self._prints_classes(index, tree, name)):
            return (counted[-2][0] if len(counted) > 1 else -1), index
        return index, -1

    def _is_alias(self, tree: t.Name) -> bool:
        """Whether a name stands for a parameter of the network, directly or through lets."""
        seen: set[str] = set()
        expression: t.Expr = tree
        while isinstance(expression, t.Name) and expression.text not in seen:
            seen.add(expression.text)
            if expression.text in self.run_.program.parameters:
                return True
            line = self.run_.program.lets.get(expression.text)
            expression = line.value if line else expression
        return False

    def _says_classes(self, name: str) -> bool:
        """Whether the file itself says where the class parameter goes."""
        p = self.run_.program
        trees: list[t.Tree] = [*p.lets.values(), *p.outputs.values(), *p.own_blocks, *p.uses.values()]
        cells = [cell for row in self.table.rows if row.cells for cell in row.cells.values.values()]
        trees += [cell.value for cell in cells if cell.value is not None]
        return any(self.run_.mentions(tree, name) for tree in trees)

    def _prints_classes(self, index: int, tree: t.Expr, name: str) -> bool:
        """Whether the last printed count is that of the classes: the parameter's default, or made of one pixel."""
        facts = self.run_.facts.rows.get((self.table.name, index))
        if facts is not None:
            return facts.classifier
        parameter = self.run_.program.parameters.get(name)
        default = parameter.default if parameter else None
        if isinstance(tree, t.Number) and isinstance(default, t.Number) and tree.value == default.value:
            return True
        row = next(row for row in self.table.rows if row.index == index)
        declared = row.cells.shapes.get("input") if row.cells else None
        items = declared.value.items if declared is not None and isinstance(declared.value, t.Product) else ()
        return len(items) == 3 and all(isinstance(item, t.Number) and item.value == 1 for item in items[:2])

    # ------------------------------------------------------------ running
    def run(self, start: Tensor) -> BodyResult:
        """What the table makes of a tensor. Raises DiagnosticError (empty where all is reported) if rows fail."""
        results: dict[int, list[Tensor]] = {row.index: [] for row in self.table.rows}
        x: Tensor | None = start
        failed = False
        self.before: tuple[TableRow, Tensor, TensorType] | None = None
        for group in self.table.groups:
            for repeat in range(group.count):
                for row in group.rows:
                    x = self._start_of(row, x, first=repeat == 0)
                    made = self._row(row, x, repeat) if x is not None else None
                    failed = failed or made is None
                    if made is not None and x is not None:
                        self.before = (row, x, made[-1].type)
                        results[row.index] += made
                    x = made[-1] if made else None
            if x is None and not self.run_.nominal:
                break
        if failed:
            raise DiagnosticError([])
        return BodyResult(start, tuple(RowResult(tuple(results[row.index])) for row in self.table.rows))

    def _start_of(self, row: TableRow, x: Tensor | None, first: bool) -> Tensor | None:
        """The row's input: what came before, checked against what the row declares, or that where it differs."""
        if not self.run_.nominal or not first or row.cells is None:
            return x
        cell = row.cells.shapes.get("input")
        declared = self._shape(cell, row, "the declared input") if cell is not None and cell.value is not None else None
        if declared is None or cell is None:
            if x is not None:
                self._note(row, x.type)
            return x
        batch = x.type.shape[0] if x is not None else 1
        kind = TensorType((batch, *declared))
        if x is not None and _picture(x.type) != _picture(kind):
            self._report_mismatch(row, cell, x, kind)
        self._note(row, kind)
        if x is None or _picture(x.type) != _picture(kind):
            picture = TensorType((batch, 1, 1, *declared)) if len(declared) == 1 else kind
            return Tensor("", picture)
        return x

    def _note(self, row: TableRow, declared: TensorType) -> None:
        self.run_.facts.rows[self.table.name, row.index] = RowFacts(declared, row.index == self.classifier)

    def _report_mismatch(self, row: TableRow, cell: Cell, x: Tensor, declared: TensorType) -> None:
        if self.before is None:
            name = next(iter(self.run_.program.inputs), "")
            line = self.run_.program.inputs.get(name) if self.table.start is None else None
            span = line.dims.span if line else None
            self.run_.found.append(shape_errors.StartsFrom(cell.span, declared, span, x.type))
            return
        previous, before, leaves = self.before
        assert previous.cells is not None
        why, correction = self._explain(previous, before, leaves, declared)
        self.run_.found.append(
            shape_errors.RowLeaves(previous.cells.operator, why, leaves, cell.span, declared, correction)
        )

    def _explain(self, row: TableRow, x: Tensor, leaves: TensorType, declared: TensorType) -> tuple[str, str | None]:
        """Why a row leaves what it leaves, and the row that would leave what is declared, if another stride does."""
        assert row.cells is not None
        stride = self._stride(row.cells)
        why = f"makes {leaves}"
        if stride > 1 and x.type.rank == 4:
            size = f"{x.type.shape[1]}x{x.type.shape[2]}"
            why = f"stride 2 halves {size}" if stride == 2 else f"stride {stride} divides {size} by {stride}"
        for other in (1, 2):
            if other != stride and self._leaves(row, x, other) == _picture(declared):
                text = _with_stride(row.cells, other)
                known = is_known_misprint(row.row.span.text)
                note = " (the paper's table is known to misprint this row)" if known else ""
                return why, f"{text} gives {declared}{note}"
        return why, None

    def _stride(self, cells: Cells) -> int:
        cell = cells.values.get("s")
        return int(cell.value.value) if cell and isinstance(cell.value, t.Number) else 1

    def _leaves(self, row: TableRow, x: Tensor, stride: int) -> tuple[int, ...] | None:
        """What the row would leave with another stride, found out on the side."""
        assert row.cells is not None
        place = row.cells.values.get("s")
        span = place.span if place else row.row.span
        cells = replace(row.cells, values={**row.cells.values, "s": Cell(t.Number(span, stride), span)})
        aside = RowRunner(self.run_, self.table)
        aside.evaluator = Evaluator(self.evaluator.blocks, self.evaluator.defaults, Builder(), self.evaluator.broken)
        try:
            made = aside._repeats(replace(row, cells=cells), x, 0)
        except DiagnosticError:
            return None
        return _picture(made[-1].type)

    def _row(self, row: TableRow, x: Tensor, group_repeat: int) -> list[Tensor] | None:
        """The tensors of the row's repeats; None where it fails, which is reported."""
        if row.cells is None or row.cells.words in self.run_.program.broken_operators:
            return None
        try:
            made = self._repeats(row, x, group_repeat)
            if self.run_.nominal and group_repeat == 0:
                self._check_output(row, made[-1])
            return made
        except DiagnosticError as error:
            self.run_.found.extend(_at_row(diagnostic, row) for diagnostic in error.diagnostics)
            return None

    def _check_output(self, row: TableRow, made: Tensor) -> None:
        assert row.cells is not None
        cell = row.cells.shapes.get("output")
        declared = (
            self._shape(cell, row, "the declared output") if cell is not None and cell.value is not None else None
        )
        if declared is None or cell is None:
            return
        found = _picture(made.type)
        # An output column often gives height and width only.
        if declared != found[: len(declared)]:
            text = "x".join(str(size) for size in declared)
            raise DiagnosticError(
                [shape_errors.WrongShape(cell.span, "this row's output", text, f"the row makes {made.type}")]
            )

    def _repeats(self, row: TableRow, x: Tensor, group_repeat: int) -> list[Tensor]:
        cells = row.cells
        assert cells is not None
        count = self._whole(cells.values.get("n"), row, "n", 1, MAX_REPEATS)
        made: list[Tensor] = []
        for repeat in range(count):
            number = group_repeat * count + repeat
            x = self._apply(row, cells, x, number)
            made.append(x)
        return made

    def _whole(self, cell: Cell | None, row: TableRow, column: str, least: int, most: int) -> int:
        if cell is None or cell.value is None:
            return least
        value = self.evaluator.value(cell.value, self._scope(row, 0))
        whole = as_whole(value)
        if whole is None or not least <= whole <= most:
            expected = f"a whole number from {least} to {most:,}"
            raise DiagnosticError([shape_errors.BadCell(cell.span, column, expected, describe(value))])
        return whole

    def _scope(self, row: TableRow, number: int) -> Scope:
        assert row.cells is not None
        main = "" if self.table.name == MAIN_BODY else self.table.name
        prefix = join_name(self.run_.prefix, main, f"r{row.index + 1}", str(number))
        origin = Origin(row.row.span, row.cells.text, row.index, number)
        place = (row.cells.operator, "in this row")
        return Scope(self.run_.lookup, self.run_.names, prefix, origin, row=place)

    def _apply(self, row: TableRow, cells: Cells, x: Tensor, number: int) -> Tensor:
        """One repeat of a row: its block with the row's values."""
        block = self.run_.program.blocks[cells.words]
        scope = self._scope(row, number)
        facts = self.run_.facts.rows.get((self.table.name, row.index))
        scope.local.update(
            repeat=number,
            declared=Declared(facts.declared if facts else x.type),
            classifier=row.index == self.classifier,
        )
        values, places = self._values(row, cells, block, x, number, scope)
        word = cells.text
        result = self.evaluator.apply(block, word, x, values, replace(scope, places=places), cells.operator)
        tensor = as_tensor(result)
        if tensor is None:
            found = describe(result)
            raise DiagnosticError([errors.WrongType(cells.operator, f"the row `{word}`", "one tensor", found)])
        return tensor

    def _values(
        self, row: TableRow, cells: Cells, block: t.Block, x: Tensor, number: int, scope: Scope
    ) -> tuple[Mapping[str, Value], Mapping[str, tuple[Place, ...]]]:
        """The block's parameters from the row's cells, and which cell decided each."""
        given = {name: cell for name, cell in cells.values.items() if name != "n"}
        for name, tree in self._filter(cells, block).items():
            given.setdefault(name, Cell(tree, tree.span))
        if self.run_.nominal:
            self._check_filter(cells, block, x, scope)
        parameters = {parameter.name.lower(): parameter for parameter in block.parameters}
        values: dict[str, Value] = {}
        places: dict[str, tuple[Place, ...]] = {}
        for name, cell in given.items():
            if cell.value is None:
                continue
            value = self._cell_value(row, name, cell, number, scope)
            if name in parameters:
                values[parameters[name].name] = value
                places[parameters[name].name] = ((cell.span, f"{name} is {describe(value)}"),)
            elif self.table.name in self.run_.program.broken_columns:
                raise DiagnosticError([])
            elif not (name == "s" and value == 1):
                taken = tuple(parameter.name for parameter in block.parameters)
                raise DiagnosticError([shape_errors.UnusedCell(cell.span, cells.text, name, taken)])
        for name, parameter in parameters.items():
            if parameter.default is None and parameter.name not in values:
                span = given[name].span if name in given else cells.operator
                size = _printed_size(row) if parameter.name == "kernel" else None
                raise DiagnosticError([shape_errors.MissingValue(span, cells.text, parameter.name, size)])
        return values, places

    def _cell_value(self, row: TableRow, name: str, cell: Cell, number: int, scope: Scope) -> Value:
        assert cell.value is not None
        value = self.evaluator.value(cell.value, scope)
        if isinstance(cell.value, t.String) and name in (self.run_.program.channel_rules or ("c",)):
            raise DiagnosticError([shape_errors.CountWithoutName(cell.span, name, self.run_.class_parameter())])
        if name == "s":
            whole = as_whole(value)
            if whole is None or whole < 1:
                raise DiagnosticError(
                    [shape_errors.BadCell(cell.span, "s", "a whole number of at least 1", describe(value))]
                )
            return 1 if number else whole
        rule = self.run_.program.channel_rules.get(name)
        if row.index == self.classifier and (name in self.run_.program.channel_rules or name == "c"):
            return self._classes(cell.value, value)
        if rule is None or self.run_.nominal or cell.bracketed or not isinstance(cell.value, t.Number | t.Name):
            return value
        return self._scaled(row, name, cell, value)

    def _classes(self, tree: t.Expr, printed: Value) -> Value:
        """The classifier's count: what its cell says where that is a name, else the class parameter's value."""
        name = self.run_.class_parameter()
        if self.run_.nominal or name is None or not isinstance(tree, t.Number):
            return printed
        return self.run_.known.get(name, printed)

    def _scaled(self, row: TableRow, name: str, cell: Cell, value: Value) -> Value:
        rule = self.run_.program.channel_rules[name]
        scope = self._scope(row, 0)
        scope.local[rule.column] = value
        scaled = self.evaluator.value(rule.expression, scope)
        if isinstance(scaled, bool) or not isinstance(scaled, int | float):
            found = describe(scaled)
            raise DiagnosticError([errors.WrongType(rule.expression.span, "the `channels` line", "a number", found)])
        rounded = rule.rounded(scaled, row.index == self.last)
        if rounded is None:
            raise DiagnosticError([shape_errors.NotWholeChannels(cell.span, f"{scaled:g}")])
        return rounded

    # ------------------------------------------------------------ declared shapes
    def _shape(self, cell: Cell, row: TableRow, what: str) -> tuple[int, ...] | None:
        """The sizes that a cell declares; None where they are wrong, which is reported."""
        try:
            scope = self._scope(row, 0)
            assert cell.value is not None
            items = cell.value.items if isinstance(cell.value, t.Product) else (cell.value,)
            sizes = tuple(self.evaluator.whole(item, scope, what) for item in items)
            if len(sizes) not in (1, 2, 3) or (len(sizes) == 2 and what == "the declared input"):
                raise DiagnosticError([shape_errors.NotAShape(cell.span, what, "height x width x channels")])
            if min(sizes) < 1:
                raise DiagnosticError([shape_errors.NotAShape(cell.span, what, "sizes of at least 1")])
        except DiagnosticError as error:
            self.run_.found.extend(error.diagnostics)
            return None
        return (1, 1, *sizes) if len(sizes) == 1 else sizes

    def _filter(self, cells: Cells, block: t.Block) -> dict[str, t.Expr]:
        """What a filter column says: `kernel` (3 x 3), its input channels (`in`) and output channels (`c`).

        `3 x 3 x 32 x 64` says all of them, `3 x 3 x 32` (dw) no output; two numbers are in and out for a block that
        takes no kernel (`1024 x 1000`), else the kernel (`7 x 7`).
        """
        cell = cells.shapes.get("filter")
        if cell is None or cell.value is None:
            return {}
        items = cell.value.items if isinstance(cell.value, t.Product) else (cell.value,)
        takes = {parameter.name.lower() for parameter in block.parameters}
        if len(items) == 2 and "kernel" not in takes:
            return {"in": items[0], "c": items[1]} if "in" in takes else {"c": items[1]}
        if len(items) not in (2, 3, 4):
            expected = "2 to 4 sizes: height x width x in x out"
            raise DiagnosticError([shape_errors.NotAShape(cell.span, "a filter", expected)])
        parts: dict[str, t.Expr] = {"kernel": t.Product(items[0].span.to(items[1].span), items[:2])}
        if len(items) == 4:
            parts["c"] = items[3]
        return parts

    def _check_filter(self, cells: Cells, block: t.Block, x: Tensor, scope: Scope) -> None:
        """The filter's input channels are those that arrive."""
        cell = cells.shapes.get("filter")
        items = cell.value.items if cell is not None and isinstance(cell.value, t.Product) else ()
        takes = {parameter.name.lower() for parameter in block.parameters}
        if cell is None or len(items) < 2 or (len(items) == 2 and "kernel" in takes):
            return
        tree = items[0] if len(items) == 2 else items[2]
        channels = self.evaluator.whole(tree, scope, "a filter")
        # A fully connected layer takes every element.
        arriving = x.type.elements // x.type.shape[0] if len(items) == 2 else x.type.shape[-1]
        if channels != arriving:
            found = f"{arriving} arrive"
            raise DiagnosticError(
                [shape_errors.WrongShape(tree.span, "this row's filter", f"{channels} input channels", found)]
            )


def _picture(kind: TensorType) -> tuple[int, ...]:
    """Height, width and channels; a vector is one pixel."""
    return kind.shape[1:] if kind.rank == 4 else (1, 1, *kind.shape[1:])


def _printed_size(row: TableRow) -> str | None:
    """`7x7` where the row's declared input is printed in numbers."""
    cell = row.cells.shapes.get("input") if row.cells else None
    items = cell.value.items if cell is not None and isinstance(cell.value, t.Product) else ()
    numbers = [str(item.value) for item in items[:2] if isinstance(item, t.Number)]
    return "x".join(numbers) if len(items) == 3 and len(numbers) == 2 else None


def _with_stride(cells: Cells, stride: int) -> str:
    """The operator cell as it would be typed with another stride."""
    cell = cells.values.get("s")
    text = " ".join(cells.operator.text.split())
    if cell is not None and "/" in cell.span.text:
        return f"`{cells.text} / s{stride}`"
    return f"`{text}` with s = {stride}"


def _at_row(diagnostic: Diagnostic, row: TableRow) -> Diagnostic:
    """An error inside a block of another file (the prelude), reported at the row that uses it."""
    labels = diagnostic.labels
    if labels and labels[0].span.source != row.row.span.source and row.cells is not None:
        return shape_errors.InRow(row.cells.operator, diagnostic)
    return diagnostic
