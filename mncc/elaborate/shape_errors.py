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
class ShapesDiffer(Diagnostic):
    """Tensors that cannot be added, multiplied or concatenated; the cell or row that decides it comes first."""

    message: str
    places: tuple[tuple[Span, str], ...]
    operands: tuple[tuple[Span, TensorType], ...]
    joins: bool
    """Whether they are joined along the channels, which then need not agree."""

    @property
    def title(self) -> str:
        return self.message

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(Label(span, str(text)) for span, text in (*self.places, *self.operands))

    @property
    def help(self) -> str:
        first = self.operands[0][1]
        other = next((kind for _, kind in self.operands if kind.shape[1:-1] != first.shape[1:-1]), self.operands[-1][1])
        small, large = sorted((first, other), key=lambda kind: kind.shape[1:-1])
        if small.rank != 4 or large.rank != 4:
            if self.joins:
                return "`-> globalpool -> flatten` makes a vector of C of HxWxC"
            return f"`-> dense {large.shape[-1]}` makes a vector of {large.shape[-1]} of {small}"
        h, w, c = small.shape[1:]
        counts = large.shape[-1]
        if not self.joins and all(a in (1, b) for a, b in zip((h, w), large.shape[1:3], strict=True)):
            return f"`-> conv 1x1 {counts}` makes {h}x{w}x{counts} of {small}"
        stride = next((s for s in range(1, large.shape[1] + 1) if _divided(large, s) == (h, w)), None)
        if not self.joins and stride is not None:
            return f"`-> conv 1x1 / {stride} {c}` makes {small} of {large}"
        height, width = large.shape[1:3]
        return f"bring them to one size: `-> upsample {height}x{width}` makes {height}x{width}x{c} of {small}"


def _divided(kind: TensorType, stride: int) -> tuple[int, int]:
    """Height and width behind a 1x1 convolution with a stride."""
    return -(-kind.shape[1] // stride), -(-kind.shape[2] // stride)


@dataclass(frozen=True)
class SizeForNumber(AtSpan):
    """A cell `16 * k` without brackets, which a row reads as the size 16 x k."""

    column: str
    found: str

    @property
    def title(self) -> str:
        return f"the column `{self.column}` needs a number, found the size {self.found}"

    @property
    def help(self) -> str:
        text = " ".join(self.span.text.replace("×", "*").replace("x", "*").split())
        return f"a product stands in brackets: `({text})`; without them a row reads a shape"


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
