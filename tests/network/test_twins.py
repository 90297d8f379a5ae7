"""Shape rules and twins against torch's own operators, which know nothing of mncc's windows and layouts."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mncc.network.ops import AvgPool, ChannelShuffle, Conv2d, Depthwise, MaxPool, Norm, ShapeError, Upsample
from mncc.network.ops.activation import KINDS, Activation
from mncc.network.types import TensorType
from mncc.network.window import output_size, resolve_padding

QUICK = settings(max_examples=80, deadline=None)
sizes = st.integers(1, 12)
pairs = st.tuples(sizes, sizes)


def picture(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(sum(shape))).normal(size=shape))


def channels_first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


@QUICK
@given(
    pairs,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.booleans(),
)
def test_convolutions(size, kernel, stride, pad, dilation, groups, bias) -> None:
    """Conv2d and Depthwise against torch.nn.Conv2d; both refuse what torch refuses."""
    x = picture(2, *size, 2 * groups)
    theirs = torch.nn.Conv2d(
        2 * groups, 3 * groups, kernel, stride, pad, dilation, groups, bias=bias, dtype=torch.float64
    )
    padding = ((pad[0], pad[0]), (pad[1], pad[1]))
    ours = Conv2d(3 * groups, kernel, stride, padding, dilation, groups, bias)
    type = TensorType(tuple(x.shape))
    try:
        expected = theirs(channels_first(x)).permute(0, 2, 3, 1)
    except RuntimeError:
        try:
            ours.infer(type)
        except ShapeError:
            return
        raise
    assert ours.infer(type).shape == tuple(expected.shape)
    weights = {"kernel": theirs.weight.permute(2, 3, 1, 0)}
    if bias:
        weights["bias"] = theirs.bias
    assert {role: t.shape for role, t in ours.weights(type).items()} == {r: tuple(w.shape) for r, w in weights.items()}
    torch.testing.assert_close(ours.torch([x], weights), expected)

    multiplier = 2
    theirs = torch.nn.Conv2d(
        2 * groups, 4 * groups, kernel, stride, pad, dilation, 2 * groups, bias=bias, dtype=torch.float64
    )
    depthwise = Depthwise(kernel, stride, padding, dilation, multiplier, bias)
    weights = {"kernel": theirs.weight.reshape(2 * groups, multiplier, *kernel).permute(2, 3, 0, 1)}
    if bias:
        weights["bias"] = theirs.bias
    expected = theirs(channels_first(x)).permute(0, 2, 3, 1)
    assert depthwise.infer(type).shape == tuple(expected.shape)
    torch.testing.assert_close(depthwise.torch([x], weights), expected)


@QUICK
@given(
    pairs,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.booleans(),
    st.booleans(),
)
def test_pools(size, kernel, stride, pad, ceil, include) -> None:
    """MaxPool and AvgPool against torch's, ceil mode and padding included."""
    assume(pad[0] <= kernel[0] // 2 and pad[1] <= kernel[1] // 2)
    x = picture(2, *size, 3)
    type = TensorType(tuple(x.shape))
    padding = ((pad[0], pad[0]), (pad[1], pad[1]))
    largest = MaxPool(kernel, stride, padding, ceil)
    average = AvgPool(kernel, stride, padding, ceil, include)
    functional = torch.nn.functional
    try:
        expected = functional.max_pool2d(channels_first(x), kernel, stride, pad, ceil_mode=ceil)
    except RuntimeError:
        try:
            largest.infer(type)
        except ShapeError:
            return
        raise
    expected = expected.permute(0, 2, 3, 1)
    assert largest.infer(type).shape == average.infer(type).shape == tuple(expected.shape)
    torch.testing.assert_close(largest.torch([x], {}), expected)
    expected = functional.avg_pool2d(channels_first(x), kernel, stride, pad, ceil, include).permute(0, 2, 3, 1)
    torch.testing.assert_close(average.torch([x], {}), expected)


@QUICK
@given(pairs, pairs, st.booleans())
def test_bilinear_indices(size, out, align) -> None:
    x = picture(1, *size, 2)
    expected = torch.nn.functional.interpolate(channels_first(x), size=out, mode="bilinear", align_corners=align)
    torch.testing.assert_close(Upsample(out, "bilinear", align).torch([x], {}), expected.permute(0, 2, 3, 1))


@QUICK
@given(pairs, st.integers(1, 4))
def test_nearest_by_whole_factors(size, factor) -> None:
    x = picture(1, *size, 2)
    expected = torch.nn.functional.interpolate(channels_first(x), scale_factor=factor, mode="nearest")
    out = (size[0] * factor, size[1] * factor)
    torch.testing.assert_close(Upsample(out).torch([x], {}), expected.permute(0, 2, 3, 1))


@QUICK
@given(st.integers(1, 64), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_leaves_the_rounded_up_quotient(size, kernel, stride, dilation) -> None:
    pad = resolve_padding("same", size, kernel, stride, dilation)
    assert pad[1] - pad[0] in (0, 1)
    if (kernel - 1) * dilation + 1 >= stride:
        assert output_size(size, kernel, stride, dilation, pad) == -(-size // stride)


def test_activations_are_torchs() -> None:
    x = torch.linspace(-8, 8, 321, dtype=torch.float64)
    functional = torch.nn.functional
    theirs = {
        "relu": functional.relu,
        "relu6": functional.relu6,
        "hard_swish": functional.hardswish,
        "hard_sigmoid": functional.hardsigmoid,
        "sigmoid": torch.sigmoid,
        "swish": functional.silu,
        "leaky": lambda y: functional.leaky_relu(y, 0.2),
    }
    assert set(theirs) == set(KINDS)
    for kind, function in theirs.items():
        torch.testing.assert_close(Activation(kind, 0.2).torch([x], {}), function(x))


def test_norm_is_torchs() -> None:
    x, (gamma, beta, mean, variance) = picture(2, 3, 4, 5), (picture(4, 5).abs() + 0.01)
    expected = torch.nn.functional.batch_norm(channels_first(x), mean, variance, gamma, beta, eps=1e-3)
    weights = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    torch.testing.assert_close(Norm(1e-3).torch([x], weights), expected.permute(0, 2, 3, 1))


def test_shuffle_is_torchs() -> None:
    x = picture(2, 3, 4, 12)
    expected = torch.nn.ChannelShuffle(3)(channels_first(x).contiguous()).permute(0, 2, 3, 1)
    torch.testing.assert_close(ChannelShuffle(3).torch([x], {}), expected)
