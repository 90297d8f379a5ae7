"""DeepLab's backbones read farther apart where they no longer stride: counts and twins do not depend on the rate."""

from __future__ import annotations

import pytest

from mncc.elaborate import load
from mncc.network.ops import Depthwise
from tests.examples.facts import EXAMPLES


@pytest.mark.parametrize(
    ("example", "output_stride", "rates"),
    [
        ("deeplab_v3_mobilenet_v2", 16, [1] * 14 + [2] * 3),
        ("deeplab_v3_mobilenet_v2", 8, [1] * 7 + [2] * 7 + [4] * 3),
        ("deeplab_v3_mobilenet_v1", 16, [1] * 12 + [2]),
        ("deeplab_v3_mobilenet_v1", 8, [1] * 6 + [2] * 6 + [4]),
    ],
)
def test_rates(example: str, output_stride: int, rates: list[int]) -> None:
    """The stride of the layer that would go beyond is taken out; the layers behind it get its rate."""
    network = load(EXAMPLES / f"{example}.mn", {"output_stride": output_stride, "resolution": 65})
    found = [node.op.dilation for node in network.nodes if isinstance(node.op, Depthwise)]
    assert found[: len(rates)] == [(rate, rate) for rate in rates]
