"""What can be wrong with names, values and settings."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mncc.language.diagnostic import Diagnostic, Label
from mncc.language.errors import AtSpan, any_of
from mncc.language.source import Span


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to two known names that a misspelt one may have meant, the closest first."""
    by_lower = {k.lower(): k for k in known}
    return tuple(by_lower[m] for m in get_close_matches(name.lower(), by_lower, 2, 0.6))


def did_you_mean(near: tuple[str, ...]) -> str:
    """A question with the nearest names."""
    return f"did you mean {any_of(tuple(f'`{name}`' for name in near))}?"


def names_here(names: Sequence[str]) -> str:
    """What could be meant where nothing comes close."""
    return f"the names known here are {', '.join(f'`{name}`' for name in names[:12])}"


@dataclass(frozen=True)
class MissingLine(Diagnostic):
    """The file lacks a line that every network has."""

    span: Span
    what: str
    form: str

    @property
    def title(self) -> str:
        return f"this file has no {self.what}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span),)

    @property
    def help(self) -> str:
        return f"type `{self.form}`"


@dataclass(frozen=True)
class UnknownName(AtSpan):
    """A name that nothing defines."""

    kind: str
    name: str
    near: tuple[str, ...]
    otherwise: str | None = None
    owner: str | None = None

    @property
    def title(self) -> str:
        if self.owner is not None:
            return f"`{self.owner}` has no {self.kind} `{self.name}`"
        return f"there is no {self.kind} `{self.name}`"

    @property
    def help(self) -> str | None:
        return did_you_mean(self.near) if self.near else self.otherwise


@dataclass(frozen=True)
class DuplicateName(Diagnostic):
    """Two definitions of one name."""

    kind: str
    name: str
    first: Span
    second: Span

    @property
    def title(self) -> str:
        return f"the {self.kind} `{self.name}` is defined twice"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.second, "again here"), Label(self.first, "defined here"))

    @property
    def help(self) -> str:
        return "remove one of them" if self.kind == "argument" else "rename one of them"


@dataclass(frozen=True)
class WrongType(AtSpan):
    """A value of another kind than the place needs."""

    place: str
    expected: str
    found: str
    hint: str | None = None

    @property
    def title(self) -> str:
        return f"{self.place} needs {self.expected}, found {self.found}"

    @property
    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class DivisionByZero(AtSpan):
    """`a / 0`."""

    @property
    def title(self) -> str:
        return "this divides by 0"


@dataclass(frozen=True)
class OutOfRange(AtSpan):
    """A number beyond what sizes can be."""

    limit: int

    @property
    def title(self) -> str:
        return f"this is larger than any size: expected at most {self.limit:,}"


@dataclass(frozen=True)
class Circular(AtSpan):
    """A `let` or a body that needs itself."""

    name: str

    @property
    def title(self) -> str:
        return f"`{self.name}` needs itself to be known"

    @property
    def help(self) -> str:
        return "break the circle: one of its definitions must not lead back to it"


@dataclass(frozen=True)
class Arity(AtSpan):
    """A wrong number of arguments or names."""

    place: str
    expected: str
    found: int
    form: str

    @property
    def title(self) -> str:
        return f"{self.place} takes {self.expected}, found {self.found}"

    @property
    def help(self) -> str:
        return f"the form is `{self.form}`"


@dataclass(frozen=True)
class MissingArgument(AtSpan):
    """A parameter that got no value."""

    callee: str
    parameter: str
    form: str

    @property
    def title(self) -> str:
        return f"`{self.callee}` needs a value for `{self.parameter}`, and gets none"

    @property
    def help(self) -> str:
        return f"the form is `{self.form}`"


@dataclass(frozen=True)
class BadIndex(AtSpan):
    """A row or repeat that does not exist."""

    what: str
    index: int
    first: int
    last: int

    @property
    def title(self) -> str:
        return f"there is no {self.what} {self.index}: expected {self.first} to {self.last}"

    @property
    def help(self) -> str:
        return f"rows count from 1, repeats from 0; `{-1}` is the last"


@dataclass(frozen=True)
class UnknownSetting(Diagnostic):
    """`--set` of a name that is no parameter of the network."""

    network: str
    name: str
    known: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"network `{self.network}` has no parameter `{self.name}`"

    @property
    def help(self) -> str:
        near = nearest(self.name, self.known)
        known = f"its parameters are {', '.join(self.known)}"
        return f"{did_you_mean(near)} {known}" if near else known


@dataclass(frozen=True)
class BadSetting(Diagnostic):
    """A value that the parameter cannot have."""

    name: str
    value: str
    expected: str

    @property
    def title(self) -> str:
        return f"the parameter `{self.name}` needs {self.expected}, found `{self.value}`"

    @property
    def help(self) -> str:
        words = self.expected.removeprefix("one of ").split(", ") if self.expected.startswith("one of ") else []
        near = nearest(self.value, words)[:1] or tuple(w for w in words if w.startswith(self.value.lower()))[:1]
        if near:
            return f"did you mean `--set {self.name}={near[0]}`?"
        return f"type `--set {self.name}=...` with {self.expected}"


@dataclass(frozen=True)
class BlockRecursion(Diagnostic):
    """A block that calls itself, directly or through others."""

    chain: tuple[str, ...]
    call: Span
    block: Span

    @property
    def title(self) -> str:
        return f"a block must not call itself: {' -> '.join(f'`{name}`' for name in self.chain)}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.call, "calls it again"), Label(self.block, "the block"))

    @property
    def help(self) -> str:
        return "repeat rows with a column `n` or a group (`5x`)"


@dataclass(frozen=True)
class NoReturn(AtSpan):
    """A block without, or with something after, `return`."""

    name: str

    @property
    def title(self) -> str:
        return f"the block `{self.name}` must end with its only `return`"

    @property
    def help(self) -> str:
        return "type `return ...` as the last line of the block"


@dataclass(frozen=True)
class TooDeep(AtSpan):
    """Calls inside calls without measure."""

    limit: int

    @property
    def title(self) -> str:
        return f"expressions and blocks nest more than {self.limit} levels deep here"

    @property
    def help(self) -> str:
        return "name parts of the expression on lines of their own"


@dataclass(frozen=True)
class TooMany(AtSpan):
    """More repeats or operators than any network has."""

    what: str
    limit: int

    @property
    def title(self) -> str:
        return f"this makes more than {self.limit:,} {self.what}"


@dataclass(frozen=True)
class UseRecursion(AtSpan):
    """A network that uses itself, directly or through others."""

    chain: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"a network must not use itself: {' -> '.join(self.chain)}"

    @property
    def help(self) -> str:
        return "move what both need to a third file, and use that"


@dataclass(frozen=True)
class UsedFileMissing(AtSpan):
    """`use` of a network that has no file."""

    path: str
    near: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"there is no file `{self.path}`"

    @property
    def help(self) -> str:
        return did_you_mean(self.near) if self.near else "`use NAME` reads NAME.mn beside this file"


@dataclass(frozen=True)
class InUsedFile(AtSpan):
    """The file of a used network is wrong."""

    path: str
    count: int

    @property
    def title(self) -> str:
        return f"`{self.path}`, which is used here, has {self.count} error{'s' if self.count != 1 else ''}"


@dataclass(frozen=True)
class BadDefault(AtSpan):
    """A value that the `defaults` line cannot give."""

    name: str
    expected: str

    @property
    def title(self) -> str:
        return f"the default `{self.name}` needs {self.expected}, found `{self.span.text}`"


@dataclass(frozen=True)
class UnusedParameter(AtSpan):
    """A block that never uses one of its parameters."""

    block: str
    name: str

    @property
    def title(self) -> str:
        return f"the block `{self.block}` never uses its parameter `{self.name}`"

    @property
    def help(self) -> str:
        return f"remove `{self.name}` from the block's parameters; rows type `-` for what an operator does not take"


@dataclass(frozen=True)
class UnusedName(AtSpan):
    """A name of a block that nothing in the block uses."""

    block: str
    name: str

    @property
    def title(self) -> str:
        return f"the block `{self.block}` never uses its `{self.name}`"

    @property
    def help(self) -> str:
        return f"use `{self.name}` in the lines below, or remove the line; `export` is for what other lines tap"


@dataclass(frozen=True)
class UnusedResult(AtSpan):
    """A tensor of the file that no other line mentions, and that is no output."""

    name: str
    scores: str | None
    """The table that is the output `scores`, where no line names an output."""

    @property
    def title(self) -> str:
        return f"nothing uses `{self.name}`, and it is no output"

    @property
    def help(self) -> str:
        text = f"to give it back, type `output {self.name} = {self.name}`, else remove it"
        if self.scores is None:
            return text
        return f"{text}; without `output` lines only what `{self.scores}` leaves is one"


@dataclass(frozen=True)
class UnusedInput(AtSpan):
    """An input that nothing reads."""

    name: str

    @property
    def title(self) -> str:
        return f"nothing reads the input `{self.name}`"

    @property
    def help(self) -> str:
        return f"remove the line, or use the input: `body from {self.name}`, `{self.name} -> conv 3x3 16`"


@dataclass(frozen=True)
class InUse(AtSpan):
    """A setting that a used network refuses."""

    inner: Diagnostic

    @property
    def title(self) -> str:
        return self.inner.title

    @property
    def help(self) -> str | None:
        if isinstance(self.inner, BadSetting):
            return f"type `{self.inner.name} = ...` with {self.inner.expected}"
        return self.inner.help


@dataclass(frozen=True)
class NotAnIdentifier(AtSpan):
    """A name that C cannot have."""

    name: str

    @property
    def title(self) -> str:
        return f"the name `{self.name}` goes into a C header: expected ASCII letters, digits and underscores"

    @property
    def help(self) -> str:
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return f"type for example `{plain if plain.isidentifier() else 'net'}`"
