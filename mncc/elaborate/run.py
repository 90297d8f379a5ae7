"""A program with the values of its parameters: lets, inputs, bodies, used networks and outputs, as nodes.

A program runs twice. The first, nominal run takes the sizes that the table prints and checks what it declares;
the second takes the parameters' values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mncc.elaborate import errors, shape_errors
from mncc.elaborate.builder import Builder, join_name
from mncc.elaborate.evaluate import Evaluator, Scope, names_in
from mncc.elaborate.facts import Facts
from mncc.elaborate.inputs import read_picture
from mncc.elaborate.primitives import Defaults
from mncc.elaborate.program import Program, Table
from mncc.elaborate.rows import RowRunner
from mncc.elaborate.settings import GENERAL, Setting, check_default, make_defaults
from mncc.elaborate.values import BodyResult, Tensor, UsedNetwork, Value, as_tensor
from mncc.language import tree as t
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.language.source import Span
from mncc.network import ops
from mncc.network.graph import Input, Origin
from mncc.network.types import TensorType

UseNetwork = Callable[["Run", t.Use, str], UsedNetwork]


class Run:
    """One elaboration of a program. `settings` are the values of all parameters, `batch` included."""

    def __init__(
        self, program: Program, settings: Mapping[str, Setting], builder: Builder, prefix: str, found: list[Diagnostic],
        use: UseNetwork, nominal: bool, facts: Facts,
    ) -> None:  # fmt: skip
        self.program, self.builder, self.prefix, self.found = program, builder, prefix, found
        self.settings = dict(settings)
        self.use, self.nominal, self.facts = use, nominal, facts
        self.known: dict[str, Value] = {n: v for n, v in self.settings.items() if n in program.parameters}
        self.pending: set[str] = set()
        self.inputs: dict[str, Input] = {}
        self.given: Mapping[str, Tensor] | None = None
        self.evaluator = Evaluator(program.blocks, Defaults(), builder, program.broken_operators)
        self.evaluator.defaults = self._defaults()
        defined = self.names()
        self.known.update((name, self.settings[name]) for name in GENERAL if name not in defined)

    # ------------------------------------------------------------ names
    def scope(self, span: Span, row: str, prefix: str = "") -> Scope:
        """Where a line outside of the tables stands."""
        origin = Origin(span, row, -1)
        return Scope(self.lookup, self.names, join_name(self.prefix, prefix), origin)

    def names(self) -> tuple[str, ...]:
        """Every name that an expression of the file can mention."""
        p = self.program
        own = (*p.parameters, *p.lets, *p.inputs, *p.uses, *p.tables)
        return (*own, *(name for name in GENERAL if name in self.known and name not in own))

    def lookup(self, tree: t.Name) -> Value:
        """The value of a name of the file: computed when it is first needed."""
        name = tree.text
        if name in self.known:
            return self.known[name]
        if name in self.program.broken:
            raise DiagnosticError([])
        make = self._maker(name)
        if make is None and self.program.network is None:
            raise DiagnosticError([])
        if make is None:
            near, hint = errors.nearest(name, self.names()), errors.names_here(self.names())
            raise DiagnosticError([errors.UnknownName(tree.span, "name", name, near, hint)])
        if name in self.pending:
            raise DiagnosticError([errors.Circular(tree.span, name)])
        self.pending.add(name)
        try:
            self.known[name] = make()
        except DiagnosticError as error:
            # Reported once where it is defined; what else needs it stays silent.
            self.program.broken.add(name)
            self.found.extend(error.diagnostics)
            raise DiagnosticError([]) from None
        finally:
            self.pending.discard(name)
        return self.known[name]

    def _maker(self, name: str) -> Callable[[], Value] | None:
        p = self.program
        if name in p.lets:
            line = p.lets[name]
            return lambda: self.evaluator.value(line.value, self.scope(line.span, f"let {name}", name))
        if name in p.inputs:
            return lambda: self.input(p.inputs[name])
        if name in p.uses:
            return lambda: self.use(self, p.uses[name], name)
        if name in p.tables:
            return lambda: self.body(p.tables[name])
        return None

    def need(self, name: str, span: Span) -> Value | None:
        """The value of a definition of the file, None where it failed (and was reported)."""
        try:
            return self.lookup(t.Name(span, name))
        except DiagnosticError as error:
            self.found.extend(error.diagnostics)
            return None

    # ------------------------------------------------------------ header
    def _defaults(self) -> Defaults:
        values: dict[str, Setting] = {}
        for clause in self.program.defaults:
            if clause.name == "classes":
                continue
            if clause.name not in GENERAL or clause.name == "batch":
                known = (*GENERAL[1:], "classes")
                near = errors.nearest(clause.name, known)
                hint = f"the defaults are {', '.join(known)}"
                self.found.append(errors.UnknownName(clause.span, "default", clause.name, near, hint))
                continue
            try:
                checked = check_default(clause.name, self._word_or_value(clause.value))
            except DiagnosticError as error:
                self.found.extend(error.diagnostics)
                continue
            if isinstance(checked, errors.BadSetting):
                self.found.append(errors.BadDefault(clause.value.span, clause.name, checked.expected))
            else:
                values[clause.name] = checked
        values.update((name, value) for name, value in self.settings.items() if name in GENERAL[1:])
        defaults = make_defaults(values)
        self.settings.update(padding=defaults.padding, epsilon=defaults.epsilon, activation=defaults.activation)
        return defaults

    def _word_or_value(self, tree: t.Expr) -> Value:
        """A word that is no variable stands for itself."""
        if isinstance(tree, t.Name) and tree.text not in self.names():
            return tree.text
        return self.evaluator.value(tree, self.scope(tree.span, "defaults"))

    def class_parameter(self) -> str | None:
        """The parameter for the number of classes: the one that `defaults classes` names, else `classes`."""
        for clause in self.program.defaults:
            if clause.name == "classes" and isinstance(clause.value, t.Name):
                return clause.value.text
        return "classes" if "classes" in self.program.parameters else None

    def mentions(self, tree: t.Tree, name: str | None) -> bool:
        """Whether an expression depends on a parameter, through lets too."""
        seen: set[str] = set()
        waiting = list(names_in(tree))
        while waiting:
            each = waiting.pop()
            if each == name:
                return True
            if each not in seen and each in self.program.lets:
                waiting += names_in(self.program.lets[each].value)
            seen.add(each)
        return False

    # ------------------------------------------------------------ inputs
    def input(self, line: t.InputLine) -> Tensor:
        """The tensor of an input line: a graph input, or what a `use` gives."""
        scope = self.scope(line.span, f"input {line.name}")
        dims = [self.evaluator.whole(dim, scope, "a size of the input") for dim in line.dims.items]
        for dim, tree in zip(dims, line.dims.items, strict=True):
            if dim < 1:
                raise DiagnosticError([errors.WrongType(tree.span, "a size of the input", "at least 1", str(dim))])
        if len(dims) not in (1, 3):
            expected = "height x width x channels, or one size for a vector"
            raise DiagnosticError([shape_errors.NotAShape(line.dims.span, "an input", expected)])
        kind = TensorType((int(self.settings.get("batch", 1)), *dims))
        if kind.elements > 2**31 - 1:
            raise DiagnosticError([errors.OutOfRange(line.dims.span, 2**31 - 1)])
        if self.given is not None:
            return self._given_input(line, kind)
        picture = read_picture(line, dims[-1], self._word_or_value)
        self.inputs[line.name] = Input(line.name, kind, picture.mean, picture.std, picture.order, line.span)
        self.builder.unique(line.name)
        return Tensor(line.name, kind)

    def _given_input(self, line: t.InputLine, kind: TensorType) -> Tensor:
        assert self.given is not None
        tensor = self.given.get(line.name)
        if tensor is None:
            raise DiagnosticError([errors.UnknownName(line.span, "tensor for the input", line.name, ())])
        if tensor.type != kind:
            found = f"the network that uses this one gives {tensor.type}"
            raise DiagnosticError([shape_errors.WrongShape(line.dims.span, "the input", str(kind), found)])
        return tensor

    # ------------------------------------------------------------ bodies and outputs
    def body(self, table: Table) -> BodyResult:
        """The rows of a table, applied to where it starts: its `from`, else the first input."""
        if table.start is not None:
            span = table.span or table.start.span
            start = self.evaluator.tensor(table.start, self.scope(span, f"body {table.name}", table.name), "`from`")
        else:
            name = next(iter(self.program.inputs), None)
            if name is None:
                if "input" in self.program.broken:
                    raise DiagnosticError([])
                form = "input image: resolution x resolution x 3"
                raise DiagnosticError([errors.MissingLine(self.program.start, "`input` line", form)])
            tensor = self.need(name, self.program.inputs[name].span)
            if not isinstance(tensor, Tensor):
                raise DiagnosticError([])
            start = tensor
        return RowRunner(self, table).run(start)

    def outputs(self) -> dict[str, Tensor]:
        """The tensors of the output lines; without any, `scores`: what the main body leaves."""
        results: dict[str, Tensor] = {}
        for name, line in self.program.outputs.items():
            try:
                scope = self.scope(line.span, f"output {name}", name)
                results[name] = self._vector(self.evaluator.tensor(line.value, scope, f"output `{name}`"), scope)
            except DiagnosticError as error:
                self.found.extend(error.diagnostics)
        if self.program.outputs or "output" in self.program.broken:
            return results
        if not self.program.tables:
            form = "output scores = image -> conv 3x3 16 -> norm -> act"
            self.found.append(errors.MissingLine(self.program.start, "table and no `output` line", form))
            return results
        name, table = next(iter(self.program.tables.items()))
        span = table.rows[-1].row.span if table.rows else table.span or self.program.start
        value = self.need(name, span)
        tensor = as_tensor(value) if value is not None else None
        if tensor is not None:
            results["scores"] = self._vector(tensor, self.scope(span, "output scores", "scores"))
        return results

    def _vector(self, tensor: Tensor, scope: Scope) -> Tensor:
        """An output of 1x1xC is given as a vector of C."""
        if tensor.type.rank != 4 or tensor.type.shape[1:3] != (1, 1):
            return tensor
        tree = t.Name(scope.origin.span, scope.origin.row)
        return self.evaluator.node(ops.Reshape(tensor.type.shape[3:]), (tensor,), "flatten", scope, tree)

    def everything(self) -> dict[str, Tensor]:
        """Evaluates all that the file defines, used or not, and returns the outputs."""
        p = self.program
        for name, span in [(n, p.lets[n].span) for n in p.lets] + [(n, p.inputs[n].span) for n in p.inputs]:
            self.need(name, span)
        for name, table in p.tables.items():
            self.need(name, table.span or p.start)
        for name, line in p.uses.items():
            self.need(name, line.span)
        return self.outputs()
