"""The memory of a kernel's tensors, as they lie there in a run of the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mncc.devices.requests import KernelRun, Operand
from mncc.plan.model import Plan, PlannedKernel, PlannedTensor

Values = Mapping[str, np.ndarray]
"""Value name -> array with its batch axis."""


def kernel_run(plan: Plan, number: int, kernel: PlannedKernel, values: Values, call: int) -> KernelRun:
    """One call of a kernel: one image, or the whole batch where its images are a row of pixels. What it writes begins
    as NaN, so that what it leaves out shows."""
    count = kernel.images_per_call
    operands = []
    buffers: dict[str, np.ndarray] = {}  # a residual may be the input too, or another part of its tensor
    for name in kernel.inputs:
        buffer = buffers.setdefault(plan.storage(name)[0], _zeros(plan.tensor(name), count))
        given = values[plan.root(name)][call * count : (call + 1) * count]
        inside = interior(plan, name, buffer)
        inside[...] = given.reshape(inside.shape)
        operands.append(Operand(buffer, plan.storage(name)[1] * buffer.itemsize))
    if kernel.shared is not None:
        operands.append(Operand(plan.tensor(kernel.shared).image_bytes * count))
    made = plan.tensor(kernel.output)
    operands.append(Operand(made.image_bytes * count, plan.storage(kernel.output)[1] * made.each))
    return KernelRun(number, tuple(operands))


def _zeros(tensor: PlannedTensor, count: int) -> np.ndarray:
    """Memory for `count` images with their borders, 64-byte aligned, all zero, flat, in the tensor's type."""
    from mncc.devices.loaded import aligned_empty

    memory = aligned_empty(tensor.image_bytes * count).view(tensor.dtype)
    memory.fill(0.0)
    return memory


def interior(plan: Plan, value: str, memory: np.ndarray) -> np.ndarray:
    """A value in the memory of its tensor, as a view: (count, H, W, C) without borders, or (count, C)."""
    tensor, (_, start) = plan.tensor(value), plan.storage(value)
    shape = tensor.type.shape[1:]
    if len(shape) != 3:
        return memory.reshape(-1, *shape)
    (top, bottom), (left, right) = tensor.pads
    height, width, channels = shape
    pitch = channels + tensor.spare
    padded = memory.reshape(-1, height + top + bottom, width + left + right, pitch)
    own = pitch - plan.spare(value)
    return padded[:, top : top + height, left : left + width, start : start + own]
