"""Resizing by the nearest pixel or by bilinear interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._rules import checked, expect_picture, positive
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType
from mncc.network.window import Pair

if TYPE_CHECKING:
    import torch
    from tvm import te

MODES = ("nearest", "bilinear")
MAX_SIZE = 2**15
"""Coordinates are ratios of 32-bit integers."""


@dataclass(frozen=True)
class Upsample(Op):
    """(N, H, W, C) -> (N, *size, C).

    `nearest` takes pixel floor(i * H / H'). `bilinear` reads at (i + 1/2) * H / H' - 1/2, held to the picture, or
    with `align_corners` at i * (H - 1) / (H' - 1): torch's two conventions.
    """

    name: ClassVar[str] = "upsample"

    size: Pair
    mode: str = "nearest"
    align_corners: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        n, h, w, c = expect_picture(self.name, inputs)
        positive(self.name, size=self.size)
        if self.mode not in MODES:
            raise ShapeError(f"there is no upsampling `{self.mode}`", f"the modes are {' and '.join(MODES)}")
        if self.align_corners and self.mode == "nearest":
            raise ShapeError("align_corners means nothing for nearest upsampling", "it belongs to bilinear")
        if max(h, w, *self.size) > MAX_SIZE:
            raise ShapeError(f"upsample from {h}x{w} to {self.size[0]}x{self.size[1]}: at most {MAX_SIZE} a side")
        return checked(self.name, (n, *self.size, c), inputs[0].dtype)

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        h, w, channels = (int(size) for size in x.shape)
        if self.mode == "nearest":

            def nearest(i: Any, j: Any, c: Any) -> Any:
                return x[i * h // self.size[0], j * w // self.size[1], c]

            return te.compute((*self.size, channels), nearest, name="upsample")

        def bilinear(i: Any, j: Any, c: Any) -> Any:
            top, bottom, down = self._source(i, h, self.size[0])
            left, right, across = self._source(j, w, self.size[1])
            above, below = (x[row, left, c] * (1 - across) + x[row, right, c] * across for row in (top, bottom))
            return above * (1 - down) + below * down

        return te.compute((*self.size, channels), bilinear, name="upsample")

    def _source(self, index: Any, size: int, out: int) -> tuple[Any, Any, Any]:
        """The two pixels that output `index` lies between and the second one's share.

        The coordinate is kept as a ratio of integers: rounding it in float32 would pick wrong pixels.
        """
        from tvm import te, tirx

        if self.align_corners:
            above, below = index * (size - 1), max(out - 1, 1)
        else:
            above, below = te.max((index * 2 + 1) * size - out, 0), 2 * out
        first = te.min(above // below, size - 1)
        share = (above - first * below).astype("float32") * tirx.const(1 / below, "float32")
        return first, te.min(first + 1, size - 1), share

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = inputs[0]
        if self.mode == "nearest":
            # torch's own nearest rounds its scale to float32 first; this is the exact rule.
            rows = torch.arange(self.size[0]) * x.shape[1] // self.size[0]
            columns = torch.arange(self.size[1]) * x.shape[2] // self.size[1]
            return x[:, rows][:, :, columns]
        y = torch.nn.functional.interpolate(
            x.permute(0, 3, 1, 2), size=self.size, mode="bilinear", align_corners=self.align_corners
        )
        return y.permute(0, 2, 3, 1)
