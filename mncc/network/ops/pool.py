"""Windows that keep the largest element or the average of each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mncc.network.ops._compute import covering, largest_te, pad_torch, read_padded
from mncc.network.ops._rules import checked, expect_picture, pair_text, window_output
from mncc.network.ops.base import Op, ShapeError
from mncc.network.types import TensorType
from mncc.network.window import Pads, Pair

if TYPE_CHECKING:
    import torch
    from tvm import te


@dataclass(frozen=True)
class _Pool(Op):
    """(N, H, W, C) -> (N, H', W', C). With `ceil` a last, partial window counts (torch's rule)."""

    kernel: Pair
    stride: Pair
    padding: Pads = ((0, 0), (0, 0))
    ceil: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        n, h, w, c = expect_picture(self.name, inputs)
        size = self._size((h, w))
        for axis in range(2):
            # A window that lies on padding alone has no largest element and no average.
            if max(self.padding[axis]) >= self.kernel[axis]:
                raise ShapeError(
                    f"the padding of {self.name}, {self.padding[axis][0]} and {self.padding[axis][1]}, "
                    f"must be smaller than its {pair_text(self.kernel)} window"
                )
        return checked(self.name, (n, *size, c), inputs[0].dtype)

    def _size(self, size: Pair) -> Pair:
        return window_output(self.name, size, self.kernel, self.stride, self.padding, ceil=self.ceil)

    def _read(self, x: te.Tensor, i: Any, j: Any, c: Any, rh: Any, rw: Any, outside: Any) -> Any:
        return read_padded(
            x, i * self.stride[0] + rh, j * self.stride[1] + rw, c, self.padding, outside, open_end=self.ceil
        )

    def _covered(self, x: torch.Tensor, value: float) -> torch.Tensor:
        """(N, C, H, W) padded so that a pool without padding or ceil mode makes the result."""
        size = (x.shape[2], x.shape[3])
        return pad_torch(x, covering(size, self._size(size), self.kernel, self.stride, self.padding), value)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest element under the window; padding never wins."""

    name: ClassVar[str] = "maxpool"

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te

        x = inputs[0]
        h, w, channels = (int(size) for size in x.shape)
        rh = te.reduce_axis((0, self.kernel[0]), "rh")
        rw = te.reduce_axis((0, self.kernel[1]), "rw")
        lowest = te.min_value("float32")
        return te.compute(
            (*self._size((h, w)), channels),
            lambda i, j, c: largest_te(self._read(x, i, j, c, rh, rw, lowest), axis=[rh, rw]),
            name="maxpool",
        )

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = self._covered(inputs[0].permute(0, 3, 1, 2), float("-inf"))
        return torch.nn.functional.max_pool2d(x, self.kernel, self.stride).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The average under the window; padding counts as zeros where `count_include_pad`, else it does not count.

    What a last, partial window of ceil mode has beyond the padding never counts (torch's rule).
    """

    name: ClassVar[str] = "avgpool"

    count_include_pad: bool = True

    def te(self, inputs: Sequence[te.Tensor], weights: Mapping[str, te.Tensor]) -> te.Tensor:
        from tvm import te, tirx

        x = inputs[0]
        h, w, channels = (int(size) for size in x.shape)
        out = self._size((h, w))
        rh = te.reduce_axis((0, self.kernel[0]), "rh")
        rw = te.reduce_axis((0, self.kernel[1]), "rw")
        zero = tirx.const(0.0, "float32")
        total = te.compute(
            (*out, channels),
            lambda i, j, c: te.sum(self._read(x, i, j, c, rh, rw, zero), axis=[rh, rw]),
            name="window_sum",
        )

        def average(i: Any, j: Any, c: Any) -> Any:
            rows, columns = self._taps(i, h, out[0], 0), self._taps(j, w, out[1], 1)
            if isinstance(rows, int) and isinstance(columns, int):
                return total[i, j, c] * tirx.const(1 / (rows * columns), "float32")
            return total[i, j, c] / (rows * columns).astype("float32")

        return te.compute(total.shape, average, name="avgpool")

    def _taps(self, index: Any, size: int, out: int, axis: int) -> Any:
        """How many taps along an axis count at output `index`: an int where it is the same everywhere."""
        from tvm import te

        before, after = self.padding[axis]
        low, high = (0, size + before + after) if self.count_include_pad else (before, before + size)
        start = index * self.stride[axis]
        first, last = start, start + self.kernel[axis]
        if low == 0 and (out - 1) * self.stride[axis] + self.kernel[axis] <= high:
            return self.kernel[axis]
        return te.min(last, high) - te.max(first, low)

    def _average(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.avg_pool2d(x, self.kernel, self.stride)

    def torch(self, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        x = inputs[0].permute(0, 3, 1, 2)
        counted = torch.ones_like(x[:1, :1])
        total = self._average(self._covered(x, 0.0))
        if self.count_include_pad:
            size = (x.shape[2], x.shape[3])
            needed = covering(size, self._size(size), self.kernel, self.stride, self.padding)
            ones = pad_torch(counted, self.padding, 1.0)
            beyond = tuple((0, needed[axis][1] - self.padding[axis][1]) for axis in range(2))
            counted = pad_torch(ones, (beyond[0], beyond[1]))
        else:
            counted = self._covered(counted, 0.0)
        return (total / self._average(counted)).permute(0, 2, 3, 1)
