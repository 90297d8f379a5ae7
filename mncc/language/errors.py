"""What can be wrong with a file before anything in it is looked up."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic, Label
from mncc.language.source import Span


@dataclass(frozen=True)
class AtSpan(Diagnostic):
    """Base of diagnostics that concern one place."""

    span: Span

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span),)


@dataclass(frozen=True)
class NotFound(Diagnostic):
    """There is no such file."""

    path: str
    near: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"there is no file `{self.path}`"

    @property
    def help(self) -> str | None:
        return f"did you mean {any_of(self.near)}?" if self.near else None


@dataclass(frozen=True)
class Unreadable(Diagnostic):
    """The file exists but cannot be read."""

    path: str
    reason: str

    @property
    def title(self) -> str:
        return f"`{self.path}` cannot be read: {self.reason}"


@dataclass(frozen=True)
class NotText(Diagnostic):
    """The file is not UTF-8 text."""

    path: str
    offset: int

    @property
    def title(self) -> str:
        return f"`{self.path}` is not a text file: its byte {self.offset} is not UTF-8 text"

    @property
    def help(self) -> str:
        return "give the .mn file; weights go to --weights"


@dataclass(frozen=True)
class TooLarge(Diagnostic):
    """The file is larger than any network's."""

    path: str
    size: int
    limit: int

    @property
    def title(self) -> str:
        return f"`{self.path}` has {self.size:,} bytes; a network file has at most {self.limit:,}"

    @property
    def help(self) -> str:
        return "repeat rows with a column `n` or a group (`5x`), and name what recurs as a block"


@dataclass(frozen=True)
class EmptyFile(Diagnostic):
    """Nothing but blanks and comments."""

    path: str

    @property
    def title(self) -> str:
        return f"`{self.path}` is empty: expected a line `network NAME(...)` and a table"

    @property
    def help(self) -> str:
        return "begin with `network NAME(resolution = 224)` and `input image: resolution x resolution x 3`"


@dataclass(frozen=True)
class UnterminatedString(AtSpan):
    """A quote that its line does not close."""

    @property
    def title(self) -> str:
        return "this text never ends: expected a closing quote on the same line"

    @property
    def help(self) -> str:
        return f'type `{self.span.text.rstrip()}"`' if len(self.span.text) < 40 else 'type the closing `"`'


@dataclass(frozen=True)
class LongLine(AtSpan):
    """A line, with what its brackets hold together, beyond what anybody writes."""

    length: int
    limit: int

    @property
    def title(self) -> str:
        return f"this line has {self.length:,} characters: expected at most {self.limit:,}"

    @property
    def help(self) -> str:
        return "check that the lines of the file were kept; `let` can name a part of an expression"


@dataclass(frozen=True)
class NestedTooDeeply(AtSpan):
    """More brackets or operators inside each other than anybody writes."""

    limit: int

    @property
    def title(self) -> str:
        return f"this line nests too deeply: expected at most {self.limit} levels"

    @property
    def help(self) -> str:
        return "name a part of it on a line of its own, and use the name"


@dataclass(frozen=True)
class StatementOutsideBlock(AtSpan):
    """`return`, `export` or an assignment at the left margin."""

    name: str | None

    @property
    def title(self) -> str:
        return f"`{self.span.text.strip()}` stands outside of a block"

    @property
    def help(self) -> str:
        if self.name is None:
            return "indent it below the block's header"
        return f"at the left margin a name is defined by `let {self.name} = ...`; in a block, indent the line"


@dataclass(frozen=True)
class MissingBody(AtSpan):
    """A block's header with nothing indented below it."""

    @property
    def title(self) -> str:
        return "this block has no body: expected indented lines below it, the last one `return ...`"

    @property
    def help(self) -> str:
        return "type for example `  return x -> conv 1x1 c -> norm -> act` below it"


@dataclass(frozen=True)
class NumberTooLarge(AtSpan):
    """A literal beyond what sizes can be."""

    limit: int

    @property
    def title(self) -> str:
        return f"this number is too large: expected at most {self.limit:,}"


@dataclass(frozen=True)
class Unexpected(AtSpan):
    """A token that the grammar does not allow here."""

    found: str
    expected: tuple[str, ...]
    hint: str | None = None

    @property
    def title(self) -> str:
        return f"expected {any_of(self.expected)}, found {self.found}" if self.expected else f"unexpected {self.found}"

    @property
    def help(self) -> str | None:
        return self.hint


def any_of(items: tuple[str, ...]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"
