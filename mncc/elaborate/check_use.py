"""What a file computes and never uses: mostly an `output` line or a name that somebody forgot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mncc.elaborate import errors
from mncc.elaborate.evaluate import names_in
from mncc.elaborate.program import Program
from mncc.elaborate.values import UsedNetwork, Value, as_tensor
from mncc.language import tree as t
from mncc.language.diagnostic import Diagnostic


def check_use(program: Program, values: Mapping[str, Value]) -> list[Diagnostic]:
    """Tensors and inputs that no line mentions and that are no output; `values` are those of the file's names.

    It counts what is written, not what the parameters choose: `a if deep else b` uses both. Numbers and words may
    stand unused.
    """
    p = program
    used = {name for tree in _trees(p) for name in names_in(tree)}
    used.update(_inputs_without_a_name(p))
    scores = None if p.outputs else next(iter(p.tables), None)
    found: list[Diagnostic] = []
    for name, span in {
        **{name: line.span for name, line in p.lets.items()},
        **{name: line.span for name, line in p.uses.items()},
        **{name: table.span or table.rows[0].row.span for name, table in p.tables.items() if table.rows or table.span},
    }.items():
        if name not in used and name != scores and _is_tensor(values.get(name)):
            found.append(errors.UnusedResult(span, name, scores))
    found += [errors.UnusedInput(line.span, name) for name, line in p.inputs.items() if name not in used]
    return found


def _trees(p: Program) -> Iterator[t.Tree]:
    """Everything in the file that can mention a name."""
    yield from p.lets.values()
    yield from p.uses.values()
    yield from p.outputs.values()
    yield from p.own_blocks
    for table in p.tables.values():
        if table.start is not None:
            yield table.start
        for row in table.rows:
            cells = [*row.cells.values.values(), *row.cells.shapes.values()] if row.cells else []
            yield from (cell.value for cell in cells if cell.value is not None)


def _inputs_without_a_name(p: Program) -> Iterator[str]:
    """Inputs that lines take without saying so: the first, where a table starts; all, where a `use` has no `on`."""
    if any(table.start is None for table in p.tables.values()):
        yield from list(p.inputs)[:1]
    if any(line.on is None for line in p.uses.values()):
        yield from p.inputs


def _is_tensor(value: Value) -> bool:
    if isinstance(value, tuple):
        return any(_is_tensor(item) for item in value)
    return isinstance(value, UsedNetwork) or as_tensor(value) is not None
