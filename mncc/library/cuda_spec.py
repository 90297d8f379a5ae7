"""What the library room needs to know to write a library for GPUs: source text, launches and weights."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mncc.library.spec import Golden, InterfaceTensor

DEVICE_ALIGN = 16
"""Bytes; every buffer begins on this boundary: kernels load four floats at once. An allocation of the driver's lies on
256."""

Extent3 = tuple[int, int, int]
"""Along x, y and z."""


@dataclass(frozen=True)
class CudaArgument:
    """One parameter of a kernel; all are pointers to global memory. `base` `input` and `output` mean the caller's
    tensor number `index`, `weights` the packed weights, `workspace` the handle's own memory; `offset` is in bytes."""

    base: Literal["input", "output", "workspace", "weights"]
    index: int
    offset: int


@dataclass(frozen=True)
class CudaLaunch:
    """One launch, for the whole batch. Launches follow one another in a stream and in the captured graph.

    `symbol` is an `extern "C" __global__` function of the source, shared by launches of the same code. `block` is in
    threads. `shared_bytes` is dynamic shared memory: past 48 KiB the function's attribute
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set, to the most that any launch of the symbol takes.
    `arguments` stand in the order of the function's signature, which is not that of the plan.
    """

    name: str
    symbol: str
    grid: Extent3
    block: Extent3
    shared_bytes: int
    arguments: tuple[CudaArgument, ...]


@dataclass(frozen=True)
class CudaSpec:
    """A library for GPUs to be written."""

    name: str
    model_hash: str
    inputs: tuple[InterfaceTensor, ...]
    outputs: tuple[InterfaceTensor, ...]
    source: str = field(repr=False)
    """CUDA C++ for nvcc; the same text for every architecture."""
    architectures: tuple[str, ...]
    """sm_75, sm_80, ..., ascending: those that the fatbin holds."""
    launches: tuple[CudaLaunch, ...]
    weights: np.ndarray = field(repr=False)
    """The packed weights as float32; uploaded once."""
    workspace_bytes: int
    """Device memory of one handle for what lies between launches; may be 0."""
    goldens: tuple[Golden, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Further content of NAME.json, as in LibrarySpec; "kernels" has an entry a launch."""
    triple: str = f"{platform.machine()}-linux-gnu"
    """Of the machine that the GPU is in: what the library's own code is compiled for."""

    @property
    def tensor_bytes(self) -> int:
        """Of the caller's workspace, of which a run needs nothing: its memory belongs to the handle."""
        return 0

    @property
    def scratch_bytes(self) -> int:
        """The same."""
        return 0
