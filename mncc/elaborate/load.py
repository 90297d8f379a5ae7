"""From a file and settings to a Network."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from mncc.elaborate import errors
from mncc.elaborate.builder import Builder, join_name
from mncc.elaborate.evaluate import Scope
from mncc.elaborate.facts import Facts
from mncc.elaborate.program import Program, read_program
from mncc.elaborate.run import Run
from mncc.elaborate.settings import GENERAL, Setting, check_batch, check_default, check_parameter, parse_setting
from mncc.elaborate.values import BodyResult, Tensor, UsedNetwork, Value, as_tensor
from mncc.language import tree as t
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.language.parse import parse_all, read_source
from mncc.network import ops
from mncc.network.graph import Network, Node, Output

MAX_REPORTED = 100
LEVELS_OF_USE = 8
"""What a `use` counts among the levels that expressions may nest."""


def load(path: str | Path, settings: Mapping[str, object] | None = None) -> Network:
    """The network of a file. `settings` are parameters by name, as texts (`--set`) or numbers.

    Raises DiagnosticError with everything that is wrong with the file or the settings.
    """
    file, found = parse_all(read_source(path))
    return _Elaboration(file, found, ()).network(settings or {})


def elaborate(file: t.File, settings: Mapping[str, object] | None = None) -> Network:
    """The network of a syntax tree; `use` looks for files beside the tree's source."""
    return _Elaboration(file, [], ()).network(settings or {})


class _Elaboration:
    """One file on its way to a network; `stack` are the files that use it."""

    def __init__(self, file: t.File, found: list[Diagnostic], stack: tuple[Path, ...]) -> None:
        self.file, self.found = file, found
        self.path = Path(file.source.name)
        self.stack = (*stack, self.path.resolve())
        self.program: Program = read_program(file, found)
        self.used: dict[str, _Elaboration] = {}
        self.level = 0
        """How deep the `use` that needs this file stands in expressions of others."""

    def network(self, given: Mapping[str, object]) -> Network:
        """The network, or DiagnosticError with all that was found."""
        settings = self.settings(given)
        facts = self.check(settings)
        builder = Builder()
        run = self._run(settings, builder, "", facts, nominal=False)
        outputs = run.everything()
        self.stop_if_wrong()
        assert self.program.network is not None
        nodes = _needed(builder.nodes, [tensor.name for tensor in outputs.values()])
        kinds = {name: _kind(tensor.name, nodes, run.class_parameter()) for name, tensor in outputs.items()}
        results = tuple(Output(name, tensor.name, kinds[name]) for name, tensor in outputs.items())
        return Network(self.program.network.name, tuple(run.inputs.values()), nodes, results, run.settings)

    def check(self, settings: Mapping[str, Setting]) -> Facts:
        """The nominal run; raises DiagnosticError with everything wrong so far."""
        facts = Facts()
        run = self._run(self._nominal(settings), Builder(), "", facts, nominal=True)
        run.everything()
        self.stop_if_wrong()
        return facts

    def stop_if_wrong(self) -> None:
        """Raises what was found, each once and in the order of the file."""
        if not self.found:
            return
        unique = list(dict.fromkeys(self.found))
        unique.sort(key=lambda d: d.labels[0].span.start if d.labels else -1)
        raise DiagnosticError(unique[:MAX_REPORTED])

    def _run(self, settings: Mapping[str, Setting], builder: Builder, prefix: str, facts: Facts, nominal: bool) -> Run:
        run = Run(self.program, settings, builder, prefix, self.found, self._use, nominal, facts)
        run.evaluator.level = self.level
        return run

    # ------------------------------------------------------------ settings
    def settings(self, given: Mapping[str, object]) -> dict[str, Setting]:
        """The value of every parameter, `batch` included, and of those defaults that are set."""
        program = self.program
        name = program.network.name if program.network else self.path.stem
        known = (*program.parameters, *(g for g in GENERAL if g not in program.parameters))
        values: dict[str, Setting] = {"batch": 1}
        wrong: list[Diagnostic] = []
        parsed = {key: parse_setting(value) for key, value in given.items()}
        wrong += [errors.UnknownSetting(name, key, known) for key in parsed if key not in known]
        checked: Setting | errors.BadSetting
        for key, parameter in program.parameters.items():
            try:
                default = self._default(parameter, values)
            except DiagnosticError as error:
                self.found.extend(error.diagnostics)
                program.broken.add(key)
                continue
            if key in parsed:
                checked = check_parameter(key, parsed[key], default)
            elif default is None:
                checked = errors.BadSetting(key, "", "a value, since the file gives it none")
            else:
                checked = default
            _sort_out(key, checked, values, wrong)
        for key in GENERAL:
            if key in parsed and key not in program.parameters:
                checked = check_batch(parsed[key]) if key == "batch" else check_default(key, parsed[key])
                _sort_out(key, checked, values, wrong)
        if wrong:
            raise DiagnosticError([*wrong, *self.found])
        return values

    def _default(self, parameter: t.Parameter, values: Mapping[str, Setting]) -> Setting | None:
        if parameter.default is None:
            return None
        facts = Facts()
        bare = Program(self.program.file, broken=self.program.broken, network=self.program.network)
        run = Run(bare, values, Builder(), "", self.found, self._use, True, facts)
        # Of the settings only the parameters before this one are known yet.
        run.known = {name: value for name, value in values.items() if name in self.program.parameters}
        value = run.evaluator.value(parameter.default, run.scope(parameter.span, parameter.name))
        if not isinstance(value, int | float | str):
            place, expected = f"the parameter `{parameter.name}`", "a number or a word"
            raise DiagnosticError([errors.WrongType(parameter.default.span, place, expected, "another value")])
        return value

    def _nominal(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """The defaults, with the sizes of the input that the first row of the table declares."""
        program = self.program
        values = dict(settings)
        for key, parameter in program.parameters.items():
            if parameter.default is not None and key in values:
                values[key] = self._default(parameter, values) or values[key]
        values["batch"] = 1
        line = next(iter(program.inputs.values()), None)
        table = next((table for table in program.tables.values() if table.start is None), None)
        first = table.rows[0].cells if table is not None and table.rows else None
        cell = first.shapes.get("input") if first is not None else None
        if line is None or cell is None or not isinstance(cell.value, t.Product):
            return values
        for dim, printed in zip(line.dims.items[:2], cell.value.items[:2], strict=False):
            if isinstance(dim, t.Name) and dim.text in program.parameters and isinstance(printed, t.Number):
                values[dim.text] = printed.value
        return values

    # ------------------------------------------------------------ use
    def _use(self, run: Run, line: t.Use, name: str) -> UsedNetwork:
        """Another file's network, elaborated into this one's nodes."""
        other = self._used(line)
        scope = run.scope(line.span, f"use {name}", name)
        given: dict[str, object] = {"batch": run.settings["batch"]}
        for item in line.arguments.items if line.arguments else ():
            if not isinstance(item, t.Keyword):
                hint = "write `use NAME(width = width)`"
                raise DiagnosticError(
                    [errors.WrongType(item.span, "`use`", "name = value", f"`{item.span.text}`", hint)]
                )
            given[item.name] = run.evaluator.value(item.value, scope)
        other.level = run.evaluator.level + LEVELS_OF_USE
        tensors = self._use_inputs(run, line, other, scope)
        try:
            settings = other.settings(given)
        except DiagnosticError as error:
            raise DiagnosticError([errors.InUse(line.span, wrong) for wrong in error.diagnostics]) from None
        try:
            facts = other.check(settings)
            inner = other._run(settings, run.builder, join_name(run.prefix, name), facts, nominal=False)
            inner.given = tensors
            outputs = inner.everything()
            other.stop_if_wrong()
        except DiagnosticError as error:
            count, path = len(error.diagnostics), other.file.source.name
            raise DiagnosticError([*error.diagnostics, errors.InUsedFile(line.word.span, path, count)]) from None
        made = {body: inner.known[body] for body in other.program.tables}
        bodies = {body: value for body, value in made.items() if isinstance(value, BodyResult)}
        return UsedNetwork(name, bodies, outputs)

    def _use_inputs(self, run: Run, line: t.Use, other: _Elaboration, scope: Scope) -> dict[str, Tensor]:
        """The tensors for the other file's inputs: those behind `on`, else this file's inputs."""
        wanted = list(other.program.inputs)
        values: list[Value] = []
        if line.on is not None:
            value = run.evaluator.value(line.on, scope)
            values = list(value) if isinstance(value, tuple) else [value]
        else:
            names = list(run.program.inputs)
            same = [n for n in wanted if n in names]
            values = [run.lookup(t.Name(line.span, n)) for n in (same if len(same) == len(wanted) else names)]
        tensors = [tensor for value in values if (tensor := as_tensor(value)) is not None]
        if len(tensors) < len(wanted):
            expected = f"{len(wanted)} tensors for {', '.join(f'`{n}`' for n in wanted)}"
            raise DiagnosticError([errors.Arity(line.span, "`use`", expected, len(tensors))])
        return dict(zip(wanted, tensors, strict=False))

    def _used(self, line: t.Use) -> _Elaboration:
        """The elaboration of the used file, which is read once."""
        text = line.word.text
        path = self.path.parent / (text if text.endswith(".mn") else f"{text}.mn")
        if path.resolve() in self.stack:
            chain = tuple(p.stem for p in self.stack[self.stack.index(path.resolve()) :])
            raise DiagnosticError([errors.UseRecursion(line.word.span, (*chain, path.stem))])
        if not path.is_file():
            beside = [p.stem for p in self.path.parent.glob("*.mn") if p.resolve() != self.path.resolve()]
            near = tuple(get_close_matches(path.stem, beside, 2))
            raise DiagnosticError([errors.UsedFileMissing(line.word.span, str(path), near)])
        key = str(path)
        if key not in self.used:
            file, found = parse_all(read_source(path))
            if found:
                raise DiagnosticError([*found, errors.InUsedFile(line.word.span, key, len(found))])
            self.used[key] = _Elaboration(file, [], self.stack)
        return self.used[key]


def _sort_out(
    key: str, checked: Setting | errors.BadSetting, values: dict[str, Setting], wrong: list[Diagnostic]
) -> None:
    """A checked setting goes to the values, what is wrong with it to the list."""
    if isinstance(checked, Diagnostic):
        wrong.append(checked)
    else:
        values[key] = checked


def _needed(nodes: list[Node], outputs: list[str]) -> tuple[Node, ...]:
    """The nodes that the outputs need, in order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if node.name in wanted:
            kept.append(node)
            wanted.update(node.inputs)
    return tuple(reversed(kept))


def _kind(value: str, nodes: tuple[Node, ...], classes: str | None) -> str:
    """`probabilities` where a softmax made it, `logits` in a network that counts classes, else `features`."""
    by_name = {node.name: node for node in nodes}
    node = by_name.get(value)
    while node is not None and isinstance(node.op, ops.Reshape):
        node = by_name.get(node.inputs[0])
    if node is not None and isinstance(node.op, ops.Softmax):
        return "probabilities"
    return "logits" if classes else "features"
