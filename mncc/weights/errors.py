"""What can be wrong with weights: one frozen dataclass an error."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic, Label
from mncc.language.source import Span


def shape_text(shape: tuple[int, ...]) -> str:
    """`32x3x3x3`; `a single number` for no axes."""
    return "x".join(str(size) for size in shape) or "a single number"


@dataclass(frozen=True)
class BadSeed(Diagnostic):
    """`random:` with something that is not a seed."""

    text: str

    @property
    def title(self) -> str:
        return f"`random:{self.text}` needs a whole number from 0 to 18446744073709551615 as its seed"

    @property
    def help(self) -> str:
        return "write `--weights random:0`"


@dataclass(frozen=True)
class UnreadableFile(Diagnostic):
    """A weights file that is not there or cannot be opened."""

    path: str
    reason: str

    @property
    def title(self) -> str:
        return f"the weights file {self.path} cannot be read: {self.reason}"

    @property
    def help(self) -> str:
        return "give a .safetensors, .pth, .pt, .h5 or .keras file; without --weights they are random"


@dataclass(frozen=True)
class UnknownFormat(Diagnostic):
    """A file whose name does not end like a weights file."""

    path: str

    @property
    def title(self) -> str:
        return f"{self.path} is not a weights file of a known format"

    @property
    def help(self) -> str:
        return "--weights takes .safetensors, .pth, .pt, .h5, .keras or random:SEED"


@dataclass(frozen=True)
class BrokenFile(Diagnostic):
    """A file that is cut off, damaged, or not what its name says."""

    path: str
    format: str
    reason: str

    @property
    def title(self) -> str:
        return f"{self.path} is not a whole {self.format} file: {self.reason}"


@dataclass(frozen=True)
class PickleRefused(Diagnostic):
    """A pickle that would have to run code to be read; it was not run."""

    path: str
    reason: str

    @property
    def title(self) -> str:
        return f"{self.path} is a pickle that needs more than tensors: {self.reason}; it was not run"

    @property
    def help(self) -> str:
        return "save the state dict alone: `torch.save(model.state_dict(), path)`"


@dataclass(frozen=True)
class NotAStateDict(Diagnostic):
    """A torch file that holds something else than named tensors."""

    path: str
    found: str

    @property
    def title(self) -> str:
        return f"{self.path} holds {self.found} instead of a state dict (names and their tensors)"

    @property
    def help(self) -> str:
        return "save it with `torch.save(model.state_dict(), path)`"


@dataclass(frozen=True)
class NoModelInFile(Diagnostic):
    """Keras weights without the model, which alone knows the order of the layers."""

    path: str

    @property
    def title(self) -> str:
        return f"{self.path} holds Keras weights without their model, so the order of the layers is not known"

    @property
    def help(self) -> str:
        return "save the whole model: `model.save('model.keras')`"


@dataclass(frozen=True)
class NamingUnknown(Diagnostic):
    """Tensor names of no known style."""

    path: str
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        if not self.names:
            return f"{self.path} holds no tensors"
        shown = ", ".join(f"`{name}`" for name in self.names)
        return f"the tensor names in {self.path} follow no naming that mncc knows: {shown}"

    @property
    def help(self) -> str | None:
        if not self.names:
            return None
        return "known are the namings of torch modules (torchvision, timm), of Keras, and mncc's own `node.role`"


@dataclass(frozen=True)
class AnotherNetwork(Diagnostic):
    """A file of which too little fits the network."""

    file: str
    """Its name and naming."""
    network: str
    fitting: int
    operators: int
    held: int
    """Layers and norms of the file."""
    span: Span | None
    difference: str
    """The first."""

    @property
    def title(self) -> str:
        return (
            f"{self.file} looks like the weights of another network: of its {self.held} layers and norms, "
            f"{self.fitting} fit the {self.operators} of {self.network}"
        )

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, self.difference),) if self.span else ()

    @property
    def help(self) -> str:
        return "give the network in which these weights were trained, with the `--set` of its training"


@dataclass(frozen=True)
class OtherSizes(Diagnostic):
    """A file with the network's operators, most of them of other sizes."""

    file: str
    differing: int
    operators: int
    span: Span | None
    difference: str
    """The first."""
    width: float | None
    """That the file's channels say, where they do."""

    @property
    def title(self) -> str:
        return (
            f"{self.file} has the layers and norms of this network in other sizes: "
            f"{self.differing} of {self.operators} differ"
        )

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, self.difference),) if self.span else ()

    @property
    def help(self) -> str:
        if self.width is None:
            return "give the network in which these weights were trained, with the `--set` of its training"
        return f"the file's channels look like a width of {self.width:g}: try `--set width={self.width:g}`"


@dataclass(frozen=True)
class MissingTensor(Diagnostic):
    """A tensor that the network needs and the file lacks."""

    tensor: str
    """The name that it would have, or the node where the file has nothing for the whole operator."""
    shape: tuple[int, ...]
    """As the file would hold it."""
    node: str
    span: Span
    place: str = ""
    """Between which of the file's names it was expected."""

    @property
    def title(self) -> str:
        return f"the weights have no {self.tensor}, expected with shape {shape_text(self.shape)}{self.place}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"needed by {self.node} of this row"),)


@dataclass(frozen=True)
class ExtraTensor(Diagnostic):
    """A tensor of the file that nothing in the network takes."""

    tensor: str
    shape: tuple[int, ...]
    span: Span | None
    relation: str
    """`belongs to` the row, or `comes after` it."""
    others: int = 0
    """How many more tensors of the same module nothing takes."""

    @property
    def title(self) -> str:
        more = f" and {self.others} more of its module" if self.others else ""
        return f"nothing in the network takes {self.tensor} of shape {shape_text(self.shape)}{more}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"it {self.relation} this row's tensors"),) if self.span else ()


@dataclass(frozen=True)
class WrongShape(Diagnostic):
    """A tensor of another shape than its operator needs."""

    tensor: str
    found: tuple[int, ...]
    expected: tuple[int, ...]
    node: str
    span: Span
    hint: str | None = None

    @property
    def title(self) -> str:
        return f"{self.tensor} has shape {shape_text(self.found)}, but {self.node} needs {shape_text(self.expected)}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"needs {shape_text(self.expected)}"),)

    @property
    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class WrongType(Diagnostic):
    """A tensor whose elements are not floating-point numbers."""

    tensor: str
    dtype: str
    shape: tuple[int, ...]
    node: str
    span: Span

    @property
    def title(self) -> str:
        return f"{self.tensor} of shape {shape_text(self.shape)} holds {self.dtype} instead of floating-point numbers"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"taken by {self.node} of this row"),)


@dataclass(frozen=True)
class NotFinite(Diagnostic):
    """A tensor with infinities or NaNs, or numbers too large for float32."""

    tensor: str
    count: int
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    node: str
    span: Span

    @property
    def title(self) -> str:
        return (
            f"{self.tensor} of shape {shape_text(self.shape)} holds {self.count} "
            f"value{'s' if self.count != 1 else ''} that are infinite or not a number"
        )

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"taken by {self.node} of this row as {shape_text(self.expected)}"),)


@dataclass(frozen=True)
class NegativeVariance(Diagnostic):
    """Batch-norm statistics that no data can have."""

    tensor: str
    lowest: float
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    node: str
    span: Span

    @property
    def title(self) -> str:
        return f"{self.tensor} of shape {shape_text(self.shape)} holds a negative variance: {self.lowest:g}"

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"taken by {self.node} of this row as {shape_text(self.expected)}"),)


@dataclass(frozen=True)
class PaddingDisagrees(Diagnostic):
    """The producer trained with another padding: same shapes, other numbers."""

    producer: str
    trained: str
    declared: str
    epsilon: float
    """The producer's, for the help."""
    operators: int
    span: Span

    @property
    def title(self) -> str:
        operators = f"{self.operators} operators" if self.operators != 1 else "1 operator"
        return (
            f"{self.producer} weights were trained with {self.trained} padding, "
            f"but {operators} in the network pad{'s' if self.operators == 1 else ''} {self.declared}"
        )

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"pads {self.declared}"),)

    @property
    def help(self) -> str:
        return convention_help(self.trained, self.epsilon)


@dataclass(frozen=True)
class EpsilonDisagrees(Diagnostic):
    """The producer trained with another epsilon: plausible results, lower accuracy."""

    producer: str
    trained: float
    declared: float
    padding: str
    """The producer's, for the help."""
    norms: int
    span: Span

    @property
    def title(self) -> str:
        norms = f"{self.norms} norms" if self.norms != 1 else "1 norm"
        return (
            f"{self.producer} weights were trained with an epsilon of {number_text(self.trained)}, "
            f"but {norms} in the network use{'s' if self.norms == 1 else ''} {number_text(self.declared)}"
        )

    @property
    def labels(self) -> tuple[Label, ...]:
        return (Label(self.span, f"epsilon {number_text(self.declared)}"),)

    @property
    def help(self) -> str:
        return convention_help(self.padding, self.trained)


def convention_help(padding: str, epsilon: float) -> str:
    """What to type for a producer's convention; the whole of it, since it usually goes wrong as a whole."""
    value = number_text(epsilon)
    return (
        f"write `defaults padding {padding}  epsilon {value}` in the header, "
        f"or add `--set padding={padding} --set epsilon={value}`"
    )


@dataclass(frozen=True)
class MoreErrors(Diagnostic):
    """How many errors were left out."""

    count: int

    @property
    def title(self) -> str:
        return f"the weights have {self.count} more error{'s' if self.count != 1 else ''} like these"

    @property
    def help(self) -> str:
        return (
            "check that the file belongs to this network, and that `--set` gives the width and classes of its training"
        )


def number_text(value: float) -> str:
    """A small number as one types it: 1e-3 and not 0.001 or 1e-03."""
    mantissa, _, exponent = f"{value:.6e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
