"""The channels that a block of a product has of its tensors, where a convolution is in groups and where it is not."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.kernels.gpu_product import GpuProduct, ProductShape
from mncc.schedules.cuda.writer import Expr, Tensor


@dataclass(frozen=True)
class BlockChannels:
    """Of the input a block reads `inputs` channels from `first_input` on; of the output it writes those from
    `first_output` on that lie before `end`, or, without one, all that there are."""

    inputs: int
    first_input: Expr
    first_output: Expr
    end: Expr | None


def block_channels(shape: ProductShape, panel: Expr) -> BlockChannels:
    """Those of a block that makes this panel: one of its group's, which together may be more than the group has."""
    spec, width = shape.spec, shape.tiles.sums.width
    if spec.last.groups == 1:
        return BlockChannels(spec.inputs, 0, panel * width, None)
    group, first = panel // shape.group_panels, panel % shape.group_panels * width
    return BlockChannels(spec.inputs, group * spec.inputs, group * spec.outputs + first, (group + 1) * spec.outputs)


def aligned_in_groups(
    spec: GpuProduct, source: Tensor, output: Tensor, residual: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The tensors with accesses that are aligned from the first channel of any group on, which begins anywhere."""
    if spec.last.groups == 1:
        return source, output, residual
    beside = residual.from_each(spec.outputs) if residual else None
    return source.from_each(spec.inputs), output.from_each(spec.outputs), beside
