"""Names inside a file's blocks, looked up without running them: every block is checked, used or not, and once."""

from __future__ import annotations

from collections.abc import Collection

from mncc.elaborate import errors
from mncc.elaborate.evaluate import IMPLICIT, names_in
from mncc.elaborate.functions import FUNCTIONS
from mncc.elaborate.primitives import PRIMITIVES
from mncc.language import tree as t
from mncc.language.cells import Words, words_of
from mncc.language.diagnostic import Diagnostic
from mncc.language.source import Span


def check_block(block: t.Block, names: Collection[str], operators: Collection[Words]) -> list[Diagnostic]:
    """What is wrong with a block's names; `names` are those of the file, `operators` the words of all blocks."""
    return _Check(block, names, operators).found


def _value_of(statement: t.Statement) -> t.Tree:
    """A statement without the names that it binds."""
    return statement.value if isinstance(statement, t.Assign) else statement


class _Check:
    def __init__(self, block: t.Block, names: Collection[str], operators: Collection[Words]) -> None:
        self.block, self.operators = block, operators
        self.found: list[Diagnostic] = []
        self.known = {*names, *IMPLICIT, "x"}
        self.local: dict[str, Span] = {"x": block.span, **dict.fromkeys(IMPLICIT, block.span)}
        for parameter in block.parameters:
            if parameter.default is not None:
                self._expression(parameter.default)
            self.known.add(parameter.name)
            self.local[parameter.name] = parameter.span
        for statement in block.statements:
            self._statement(statement)
        self._returns()
        self._parameters()
        if not self.found:  # a misspelt use is no missing one
            self._assigned()

    def _statement(self, statement: t.Statement) -> None:
        if isinstance(statement, t.Return):
            for value in statement.values:
                self._expression(value)
            return
        self._expression(statement.value)
        for name in statement.names if isinstance(statement, t.Assign) else ():
            if name.text in self.local:
                self.found.append(errors.DuplicateName("name", name.text, self.local[name.text], name.span))
            self.local[name.text] = name.span
            self.known.add(name.text)

    def _returns(self) -> None:
        name = self.block.words[0].text
        *before, last = self.block.statements
        if not isinstance(last, t.Return):
            self.found.append(errors.NoReturn(last.span, name))
        self.found += [errors.NoReturn(each.span, name) for each in before if isinstance(each, t.Return)]

    def _parameters(self) -> None:
        used = {name for statement in self.block.statements for name in names_in(statement)}
        used |= {n for p in self.block.parameters if p.default is not None for n in names_in(p.default)}
        for parameter in self.block.parameters:
            if parameter.name not in used:
                self.found.append(errors.UnusedParameter(parameter.span, self.block.words[0].text, parameter.name))

    def _assigned(self) -> None:
        """Of the names that one line binds, some statement uses one; the parts of a `split` need not all be used."""
        used = {name for statement in self.block.statements for name in names_in(_value_of(statement))}
        for statement in self.block.statements:
            if isinstance(statement, t.Assign) and used.isdisjoint(name.text for name in statement.names):
                name = statement.names[0]
                self.found.append(errors.UnusedName(name.span, self.block.words[0].text, name.text))

    def _expression(self, tree: t.Tree) -> None:
        match tree:
            case t.Name():
                if tree.text not in self.known:
                    near, hint = errors.nearest(tree.text, self.known), errors.names_here(sorted(self.local))
                    self.found.append(errors.UnknownName(tree.span, "name", tree.text, near, hint))
            case t.Stage():
                self._stage(tree)
            case t.Call():
                if isinstance(tree.function, t.Name):
                    self._word(tree.function, "function")
                else:
                    self._expression(tree.function)
                self._expression(tree.arguments)
            case _:
                for child in t.children(tree):
                    self._expression(child)

    def _word(self, word: t.Name | t.String, kind: str) -> bool:
        known = word.text in FUNCTIONS or word.text in PRIMITIVES or words_of(word.text) in self.operators
        if not known:
            words = [*PRIMITIVES, *FUNCTIONS, *(" ".join(words) for words in self.operators)]
            near = errors.nearest(word.text, words)
            self.found.append(errors.UnknownName(word.span, kind, word.text, near))
        return known

    def _stage(self, stage: t.Stage) -> None:
        """A stage's word and the names in its arguments, but for the words that its primitive takes."""
        if not self._word(stage.word, "primitive or block"):
            return
        primitive = PRIMITIVES.get(stage.word.text)
        words: set[str] = set()
        if primitive is not None:
            words = {*primitive.flags, *(slot.name for slot in primitive.keywords)}
            words |= {word for slot in primitive.slots.values() for word in slot.words}
        for argument in stage.arguments:
            if isinstance(argument, t.Name) and argument.text not in self.known and primitive is not None:
                if argument.text not in words:
                    near = errors.nearest(argument.text, {*words, *self.known})
                    form = f"the form is `{primitive.form(stage.word.text)}`"
                    wrong = errors.UnknownName(argument.span, "argument", argument.text, near, form, stage.word.text)
                    self.found.append(wrong)
            elif not (isinstance(argument, t.Name) and argument.text in words):
                self._expression(argument)
