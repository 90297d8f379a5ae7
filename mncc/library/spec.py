"""What the library room needs to know to write a library: everything decided, nothing about TVM or the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from mncc.kernels.tiles import Phase


@dataclass(frozen=True)
class Slot:
    """Where one tensor of a kernel lies at run time.

    `base` `input` and `output` mean the caller's buffer number `index`; `workspace` the caller's workspace.
    `offset` and `image_stride` are bytes; image n of the batch lies at offset + n * image_stride. A `part` is some
    channels of a larger tensor, whose image begins `skipped` bytes before: between its pixels lie other results. What
    is `shared` is written in the kernel's first phase and read in its second.
    """

    base: Literal["input", "output", "workspace"]
    index: int
    offset: int
    image_stride: int
    part: bool = False
    skipped: int = 0
    shared: bool = False


@dataclass(frozen=True)
class KernelEntry:
    """One step of the network, run for every image and split among tasks by items.

    `symbol` is a function of the kernel object, with C signature
    `int32_t symbol(int32_t begin, int32_t end, const void *weights, void *scratch, void *tensor0, ...)`:
    computes items begin (inclusive) to end (exclusive) of one image, which count through all phases; the tensors are
    inputs, then what is shared between phases, then the output. Entries of the same code share a symbol. Tasks split
    the images x items of a phase, or its images x blocks, evenly, contiguously, and begin the next when all are done.
    """

    name: str
    symbol: str
    phases: tuple[Phase, ...]
    images: int
    weights_offset: int
    tensors: tuple[Slot, ...]

    @property
    def items(self) -> int:
        """Items of one image, of all phases."""
        return sum(phase.items for phase in self.phases)


@dataclass(frozen=True)
class InterfaceTensor:
    """An input or output as the C interface shows it: NHWC shape with the batch."""

    name: str
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Golden:
    """What the self test expects of one output: elements by flat index, their float64 values rounded once, and the
    largest |got - value| that passes."""

    indices: tuple[int, ...]
    values: tuple[float, ...]
    tolerance: float


class Interface(Protocol):
    """What a program sees of a library, whatever its kernels run on."""

    @property
    def name(self) -> str: ...
    @property
    def model_hash(self) -> str: ...
    @property
    def inputs(self) -> tuple[InterfaceTensor, ...]: ...
    @property
    def outputs(self) -> tuple[InterfaceTensor, ...]: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def tensor_bytes(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...
    @property
    def goldens(self) -> tuple[Golden, ...]: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class LibrarySpec:
    """A library to be written. Byte sizes of scratch and tensors are multiples of 64."""

    name: str
    model_hash: str
    inputs: tuple[InterfaceTensor, ...]
    outputs: tuple[InterfaceTensor, ...]
    kernels: tuple[KernelEntry, ...]
    kernel_object: bytes = field(repr=False)
    weights: np.ndarray = field(repr=False)
    """The packed weights as float32 or bytes; placed 64-byte aligned in read-only data."""
    tensor_bytes: int
    """Of the workspace: intermediate tensors of the whole batch."""
    scratch_bytes: int
    """Of the workspace: scratch of one task. The workspace for t threads is tensor_bytes + t * scratch_bytes."""
    triple: str
    cpu_features: tuple[str, ...]
    """Instructions the kernels need, as in the target's TOML: avx2, fma, avx512f, ..."""
    goldens: tuple[Golden, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Further content of NAME.json: versions of the tools ("mncc" among them), target, options, and "kernels", as many
    as the library has, with rows, tiles, scratch, shares."""
    target: str = ""
    """The name of the target whose kernels these are."""
    parts: tuple[int, ...] = ()
    """The processors that the target is for, as MIDR_EL1 has them: implementer << 12 | part."""
    variants: tuple[LibrarySpec, ...] = field(default=(), repr=False)
    """The same library for each of several targets, in the order they were named, with `weights` of all of them. This
    spec then is one of them: the one that needs the largest workspace for a thread."""

    @property
    def sets(self) -> tuple[LibrarySpec, ...]:
        """What the library chooses from when it is loaded."""
        return self.variants or (self,)
