"""What can be wrong with shapes: what a table declares, and what an operator refuses."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic, Label
from mncc.language.errors import AtSpan
from mncc.language.source import Span
from mncc.network.types import TensorType


@dataclass(frozen=True)
class RowLeaves(Diagnostic):
    """A row makes another shape than the next row's declared input."""

    row: Span
    why: str
    leaves: TensorType
    next: Span
    declared: TensorType
    correction: str | None

    @property
    def title(self) -> str:
        return f"this row leaves {self.leaves}, but the next row's input says {self.declared}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.row, self.why), Label(self.next, "declared here"))

    @property
    def help(self) -> str:
        return self.correction or f"if this row is right, the next row's input is {self.leaves}"


@dataclass(frozen=True)
class StartsFrom(Diagnostic):
    """The first row declares another input than the network has."""

    declared_at: Span
    declared: TensorType
    input_at: Span | None
    found: TensorType

    @property
    def title(self) -> str:
        return f"the first row's input says {self.declared}, but the table starts from {self.found}"

    @property
    def labels(self) -> tuple[Label, ...]:
        first = Label(self.declared_at, "declared here")
        return (first, Label(self.input_at, "the input")) if self.input_at else (first,)

    @property
    def help(self) -> str:
        return f"type {self.found} in the row, or correct the `input` line"


@dataclass(frozen=True)
class WrongShape(AtSpan):
    """A declared output, filter or shape that does not hold."""

    what: str
    declared: str
    found: str

    @property
    def title(self) -> str:
        return f"{self.what} says {self.declared}, but {self.found}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, "declared here"),)

    @property
    def help(self) -> str:
        return "correct the declared shape, or the row before it"


@dataclass(frozen=True)
class NotAShape(AtSpan):
    """A declared shape with too many or too few sizes."""

    what: str
    expected: str

    @property
    def title(self) -> str:
        return f"{self.what} needs {self.expected}, found `{self.span.text}`"


@dataclass(frozen=True)
class Refusal(Diagnostic):
    """An operator refuses its input; the cells that decide it come first."""

    message: str
    hint: str | None
    places: tuple[tuple[Span, str], ...]

    @property
    def title(self) -> str:
        return self.message

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(Label(span, text) for span, text in self.places)

    @property
    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class UnusedCell(AtSpan):
    """A row gives a value that its operator has no parameter for."""

    operator: str
    column: str
    parameters: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"`{self.operator}` takes no `{self.column}`"

    @property
    def help(self) -> str:
        taken = f"it takes {', '.join(self.parameters)}" if self.parameters else "it takes no parameters"
        return f"type `-` here; {taken}"


@dataclass(frozen=True)
class MissingValue(AtSpan):
    """A row gives no value for a parameter without a default."""

    operator: str
    parameter: str
    size: str | None = None
    """Height and width of the row's input as it is printed: what a kernel that is missing mostly is."""

    @property
    def title(self) -> str:
        return f"`{self.operator}` needs a value for `{self.parameter}`, and this row gives none"

    @property
    def help(self) -> str:
        if self.parameter == "kernel":
            return f"type the size behind the operator: `{self.operator} {self.size or '3x3'}`"
        return f"add a column `{self.parameter}` with its value, or give the block's parameter a default"


@dataclass(frozen=True)
class BadCell(AtSpan):
    """A cell whose value the column cannot have."""

    column: str
    expected: str
    found: str

    @property
    def title(self) -> str:
        return f"the column `{self.column}` needs {self.expected}, found {self.found}"

    @property
    def help(self) -> str:
        return f"type {self.expected}"


@dataclass(frozen=True)
class CountWithoutName(AtSpan):
    """A channel count that is a word which nothing defines: the `k` of a table without its `let`."""

    column: str
    classes: str | None

    @property
    def title(self) -> str:
        return f"the column `{self.column}` needs a whole number, found the word `{self.span.text}`"

    @property
    def help(self) -> str:
        return f"type a number, or say what the word means: `let {self.span.text} = {self.classes or '1000'}`"


@dataclass(frozen=True)
class NotWholeChannels(AtSpan):
    """The channels line makes a fraction and says no rounding."""

    found: str

    @property
    def title(self) -> str:
        return f"the `channels` line makes {self.found} channels of this"

    @property
    def help(self) -> str:
        return "add `round 8 keep 0.9` (MobileNetV2) or `truncate min 8` (MobileNetV1) to the `channels` line"


@dataclass(frozen=True)
class InRow(Diagnostic):
    """An error inside a block, with the row that uses the block."""

    row: Span
    inner: Diagnostic

    @property
    def title(self) -> str:
        return self.inner.title

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.row, "in this row"), *self.inner.labels)

    @property
    def help(self) -> str | None:
        return self.inner.help
