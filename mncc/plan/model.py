"""The plan: which kernels run, in which order, on which tensors, and where everything lies. Printable, no TVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np

from mncc.kernels.ahead import Ahead, NextRows
from mncc.kernels.chain import NO_PADS, Chain
from mncc.kernels.family import family_of
from mncc.kernels.gpu_direct import DirectTiles
from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_plain import GpuPlainTiles
from mncc.kernels.gpu_product import ProductTiles
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.gpu_time import GpuPrediction
from mncc.kernels.limits import KERNEL_TENSORS
from mncc.kernels.plain import Plain, PlainTiles
from mncc.kernels.precision import FULL, Precision, StoredType
from mncc.kernels.slots import Prediction
from mncc.kernels.target import Target
from mncc.kernels.tiles import LINE, Phase, Scratch
from mncc.kernels.tunable import Tunable
from mncc.network.graph import Input, Node, Output
from mncc.network.types import TensorType
from mncc.network.window import Pads
from mncc.plan.views import Views

Tiles = Tunable | PlainTiles | FusedTiles | ProductTiles | DirectTiles | GpuPlainTiles


@dataclass(frozen=True)
class StageSource:
    """Where weights come from: a node, and for a convolution the norm that is folded into it."""

    node: Node
    norm: Node | None = None


@dataclass(frozen=True)
class PlannedKernel:
    """One kernel. `sources` has an entry a stage of a chain, or a node an operator of a plain kernel.

    It runs for each of `images` images; `weights_offset` is in bytes from the start of the packed weights."""

    name: str
    spec: Chain | Plain
    nodes: tuple[Node, ...]
    sources: tuple[StageSource, ...]
    inputs: tuple[str, ...]
    output: str
    images: int
    tiles: Tiles | None = None
    shared: str | None = None
    """The tensor between its two phases, where it has two."""
    weights_offset: int = 0
    ahead: Ahead | NextRows | None = None
    """What it fetches before it is needed."""

    @property
    def family(self) -> str:
        """The family's name: chain, winograd, strassen or plain."""
        return self.spec.family

    @property
    def output_type(self) -> TensorType:
        """The value that it makes."""
        return self.nodes[-1].type

    @property
    def rows(self) -> tuple[str, ...]:
        """The table rows it computes, as `number: operator words`, in order; rows count from 1, as in the language.
        A line outside of the table has no number."""
        origins = (n.origin for n in self.nodes)
        return tuple(dict.fromkeys(f"{o.index + 1}: {o.row}" if o.index >= 0 else o.row for o in origins))

    @property
    def images_per_call(self) -> int:
        """Images of the batch that one call computes: one, or all where they are a row of pixels."""
        return self.output_type.shape[0] // self.images

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole batch, nothing recomputed."""
        return family_of(self.spec).macs(self.spec) * self.images

    @property
    def executed_macs(self) -> int:
        """Multiply-adds that really run on two threads; one computes nothing twice."""
        return family_of(self.spec).executed_macs(self.spec, self.tiles) * self.images

    @property
    def recomputed_share(self) -> float:
        """Of the multiply-adds needed, how many are done a second time where two threads share the work."""
        return self.executed_macs / self.macs - 1 if self.macs else 0.0

    def predict(self, target: Target | GpuTarget) -> Prediction | GpuPrediction:
        """The time of one image on one thread."""
        return family_of(self.spec).predict(self.spec, self.tiles, target)

    @property
    def scratch(self) -> tuple[Scratch, ...]:
        """The arrays of a task's scratch."""
        return family_of(self.spec).scratch(self.spec, self.tiles)

    @property
    def scratch_bytes(self) -> int:
        """Scratch of one task; a multiple of 64."""
        return sum(array.bytes for array in self.scratch)

    @property
    def values(self) -> tuple[str, ...]:
        """Everything in memory that it is given: inputs, what lies between its phases, the output."""
        return (*self.inputs, *((self.shared,) if self.shared else ()), self.output)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Work of one image that tasks share out, one phase after the other."""
        return family_of(self.spec).phases(self.spec, self.tiles)

    @property
    def items(self) -> int:
        """Work items of one image, of all phases."""
        return sum(phase.items for phase in self.phases)

    @property
    def weight_floats(self) -> int:
        """Size of its packed weights."""
        return family_of(self.spec).weight_floats(self.spec, self.tiles)

    @property
    def weights_dtype(self) -> StoredType:
        """How the weights of its convolutions are stored."""
        return self.spec.weights_dtype if isinstance(self.spec, Chain) else "float32"

    @property
    def tile_table(self) -> Mapping[str, Any]:
        """The tiles by name, for manifests and printed stages."""
        return asdict(self.tiles) if self.tiles else {}


@dataclass(frozen=True)
class PlannedTensor:
    """A value in memory: zero borders around it, `spare` elements behind each of its pixels, and its place. `base` is
    input, output or workspace; `index` the number of the input or output; `offset` and `image_stride` are bytes."""

    name: str
    type: TensorType
    pads: Pads = NO_PADS
    spare: int = 0
    base: Literal["input", "output", "workspace"] = "workspace"
    index: int = 0
    offset: int = 0
    dtype: StoredType = "float32"

    @property
    def each(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def image_stride(self) -> int:
        """Bytes from one image of the batch to the next; whole lines in the workspace."""
        bytes_ = self.image_bytes
        return bytes_ if self.base != "workspace" else -(-bytes_ // LINE) * LINE

    @property
    def image_bytes(self) -> int:
        """One image with its borders."""
        shape = self.type.shape[1:]
        if len(shape) != 3:
            return prod(shape) * self.each
        (top, bottom), (left, right) = self.pads
        return (shape[0] + top + bottom) * (shape[1] + left + right) * (shape[2] + self.spare) * self.each

    @property
    def bytes(self) -> int:
        """The whole batch."""
        return self.image_stride * self.type.shape[0]


@dataclass(frozen=True)
class Plan:
    """Kernels in the order they run. `aliases` are values that are another value under a new shape, `views` those that
    are some channels of another. `precision` says how weights are stored, where a family can, and what lies between
    kernels."""

    network: str
    machine: Target | GpuTarget
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    kernels: tuple[PlannedKernel, ...]
    tensors: Mapping[str, PlannedTensor]
    aliases: Mapping[str, str]
    views: Views
    precision: Precision = FULL
    tuned: Mapping[Any, Tiles] = field(default_factory=dict, repr=False)
    """What a table has for kernels, by their specs; of this network or of any."""

    @property
    def target(self) -> Target:
        """The CPU that it is for."""
        assert isinstance(self.machine, Target), self.machine.name
        return self.machine

    @property
    def gpu(self) -> GpuTarget:
        """The GPU that it is for."""
        assert isinstance(self.machine, GpuTarget), self.machine.name
        return self.machine

    def is_tuned(self, kernel: PlannedKernel) -> bool:
        """True where its tiles are from a table."""
        return kernel.spec in self.tuned and kernel.tiles == self.tuned[kernel.spec]

    def keeps_default(self, kernel: PlannedKernel) -> bool:
        """True where a table has other tiles for it, which it cannot have."""
        return kernel.spec in self.tuned and not self.is_tuned(kernel)

    def tensor(self, value: str) -> PlannedTensor:
        """The memory behind a value."""
        return self.tensors[self.storage(value)[0]]

    def root(self, value: str) -> str:
        """The value whose elements `value` is under another shape."""
        while value in self.aliases:
            value = self.aliases[value]
        return value

    def storage(self, value: str) -> tuple[str, int]:
        """The tensor that holds a value, and the first of its channels that are the value's."""
        name, start = self.root(value), 0
        while name in self.views.views:
            view = self.views.views[name]
            name, start = self.root(view.whole), start + view.start
        return name, start

    def channels(self, kernel: PlannedKernel, value: str) -> int:
        """Of a value as a kernel sees it: to a dense layer all numbers of a flattened image are its channels, which the
        tensor that holds them does not say."""
        view = self.views.views.get(self.root(value))
        if view:
            return view.channels
        if isinstance(kernel.spec, Chain) and value == kernel.inputs[0]:
            return kernel.spec.channels
        if isinstance(kernel.spec, Chain) and value in kernel.values and value != kernel.shared:
            return kernel.spec.last.channels
        return self.tensor(value).type.shape[-1]

    def spare(self, value: str) -> int:
        """Floats between two pixels of a value in memory that are not its own."""
        name = self.root(value)
        tensor = self.tensor(name)
        if name not in self.views.views:
            return tensor.spare
        return tensor.type.shape[-1] + tensor.spare - self.views.views[name].channels

    def is_aligned(self, value: str) -> bool:
        """Whether a value begins on a line: the workspace's do, the caller's and parts of others need not."""
        tensor, (_, start) = self.tensor(value), self.storage(value)
        return tensor.base == "workspace" and start * tensor.each % LINE == 0

    def is_aliased(self, name: str) -> bool:
        """True where a tensor's memory is another value's too, under another shape."""
        return name in self.aliases.values()

    @cached_property
    def lifetimes(self) -> Mapping[str, tuple[int, int]]:
        """Workspace tensor -> the first and the last kernel (by number) that touches it."""
        spans: dict[str, tuple[int, int]] = {}
        for number, kernel in enumerate(self.kernels):
            for value in kernel.values:
                name, _ = self.storage(value)
                if self.tensors[name].base == "workspace":
                    spans[name] = (spans.get(name, (number, number))[0], number)
        return spans

    @property
    def tensor_bytes(self) -> int:
        """Of the workspace: what intermediate tensors take."""
        return max((t.offset + t.bytes for t in self.tensors.values() if t.base == "workspace"), default=0)

    @property
    def scratch_bytes(self) -> int:
        """Of the workspace: what one task takes."""
        return max((k.scratch_bytes for k in self.kernels), default=0)

    def workspace_bytes(self, threads: int) -> int:
        """Bytes of workspace that a run on `threads` threads needs; at least one line."""
        return max(LINE, self.tensor_bytes + max(1, threads) * self.scratch_bytes)

    @property
    def weight_bytes(self) -> int:
        """Size of all packed weights."""
        return sum(k.weight_floats for k in self.kernels) * 4


def check_values(plan: Plan) -> None:
    """The invariants that hold after every pass: each value is defined once and before it is read, and tensors and
    kernels agree on shapes and borders. Raises AssertionError naming the kernel."""
    known = {i.name for i in plan.inputs}
    for kernel in plan.kernels:
        for value in kernel.inputs:
            assert _is_made(plan, value, known), f"{kernel.name} reads {value} before it is made"
        assert kernel.output not in known, f"{kernel.output} is made twice"
        known.add(kernel.output)
        _check_kernel(plan, kernel)
    for value in (*plan.aliases.values(), *(output.value for output in plan.outputs)):
        assert plan.root(value) not in plan.views.views, f"{value} needs memory without gaps, and is a part of another"
    roots = [plan.root(output.value) for output in plan.outputs]
    assert len(set(roots)) == len(roots), "two outputs are one tensor"
    for output in plan.outputs:
        assert _is_made(plan, output.value, known), f"output {output.name} is never made"


def _is_made(plan: Plan, value: str, known: set[str]) -> bool:
    """True where kernels made a value, all parts of it, or what it is a slice of."""
    root, views = plan.root(value), plan.views
    if root in views.joins:
        return all(_is_made(plan, part, known) for part in views.joins[root])
    if root in views.views and not views.is_part(root):
        return _is_made(plan, views.views[root].whole, known)
    return root in known


def _check_kernel(plan: Plan, kernel: PlannedKernel) -> None:
    """A kernel's shapes and borders are those of its tensors."""
    tensors = [plan.tensor(value) for value in (*kernel.inputs, kernel.output)]
    assert kernel.output_type.shape[0] % kernel.images == 0, f"{kernel.name}: images do not divide the batch"
    assert len(tensors) <= KERNEL_TENSORS, f"{kernel.name} has {len(tensors)} tensors"
    spec = kernel.spec
    if not isinstance(spec, Chain):
        assert not any(any(map(any, t.pads)) for t in tensors), f"{kernel.name}: borders"
        return
    last = (1, 1, spec.last.channels) if spec.pool else (spec.last.height, spec.last.width, spec.last.channels)
    shapes = [(spec.height, spec.width, spec.channels), *([last] if spec.residual else []), last]
    pads = [spec.input_pads, *([spec.residual_pads] if spec.residual else []), spec.output_pads]
    for tensor, value, shape, borders in zip(tensors, (*kernel.inputs, kernel.output), shapes, pads, strict=True):
        view = plan.views.views.get(plan.root(value))
        elements = tensor.type.elements // tensor.type.shape[-1] * view.channels if view else tensor.type.elements
        assert prod(shape) * kernel.images == elements, f"{kernel.name}: {value} is not {shape}"
        assert borders == tensor.pads, f"{kernel.name}: the borders of {tensor.name} differ"
    assert not spec.pool or (spec.height == 1 and not spec.residual), f"{kernel.name} pools more than a row"


def _spares(kernel: PlannedKernel) -> tuple[int, ...]:
    """What a kernel's spec says of the pixels of its inputs and its output."""
    spec = kernel.spec
    if isinstance(spec, Chain):
        return (spec.input_spare, *([spec.residual_spare] if spec.residual else []), spec.output_spare)
    return (*(spec.input_spares or [0] * len(kernel.inputs)), spec.output_spare)


def check_plan(plan: Plan) -> None:
    """The invariants of a finished plan: those of every pass; each kernel has tiles; weights and tensors that live at
    the same time do not overlap. Raises AssertionError naming the kernel or tensor."""
    check_values(plan)
    end = 0
    for kernel in plan.kernels:
        assert kernel.tiles is not None, f"{kernel.name} has no tiles"
        spares = tuple(plan.spare(value) for value in (*kernel.inputs, kernel.output))
        assert _spares(kernel) == spares, f"{kernel.name}: its tensors' pixels lie elsewhere"
        assert kernel.weights_offset >= end, f"the weights of {kernel.name} overlap others"
        assert kernel.weights_offset % LINE == 0, f"the weights of {kernel.name} are not on a line"
        end = kernel.weights_offset + kernel.weight_floats * 4
    spans = sorted(plan.lifetimes.items())
    for number, (name, (first, last)) in enumerate(spans):
        here = plan.tensors[name]
        assert here.offset % LINE == 0, f"{name} is not on a line"
        for other, (start, stop) in spans[number + 1 :]:
            there = plan.tensors[other]
            apart = here.offset + here.bytes <= there.offset or there.offset + there.bytes <= here.offset
            assert apart or last < start or stop < first, f"{name} and {other} overlap while both live"
