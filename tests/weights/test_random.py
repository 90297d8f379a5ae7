"""random:SEED: the same everywhere, and a network that stays alive."""

from __future__ import annotations

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.network.graph import Network
from mncc.network.ops import (
    Activation,
    AvgPool,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dense,
    GlobalPool,
    MaxPool,
    Mean,
    Multiply,
    Reshape,
    Slice,
    Softmax,
    Upsample,
)
from mncc.reference import Twin
from mncc.weights import load_weights
from tests.weights.nets import Builder, residuals


def plain(depth: int = 12) -> Network:
    """Convolutions with bias and ReLU, no norm at all: VGG and SqueezeNet in small."""
    b = Builder(("conv",), size=24)
    x = "image"
    for i in range(depth):
        x = b.add(f"a{i}", Activation("relu"), b.conv(f"c{i}", x, 16, 3, 2 if i in (2, 6) else 1, bias=True))
    x = b.add("pool", MaxPool((2, 2), (2, 2)), x)
    x = b.add("flat", Reshape((9 * 16,)), x)
    x = b.add("fc1.act", Activation("relu"), b.add("fc1", Dense(32), x))
    return b.network(b.add("fc2", Dense(10), x))


def gated() -> Network:
    """Squeeze and excite, hard-swish, groups, shuffle, concat, split and upsampling, with a softmax at the end."""
    b = Builder(("block",))
    x = b.norm("stem", b.conv("stem.conv", "image", 16, 3, 2), "hard_swish")
    for i in range(4):
        y = b.norm(f"b{i}.in", b.add(f"b{i}.group", Conv2d(32, groups=4), x), "swish")
        y = b.norm(f"b{i}.dw", b.depthwise(f"b{i}.dw.conv", b.add(f"b{i}.shuffle", ChannelShuffle(4), y)), "leaky")
        squeezed = b.add(f"b{i}.pool", GlobalPool(), y)
        squeezed = b.add(f"b{i}.r", Activation("relu"), b.conv(f"b{i}.reduce", squeezed, 8, bias=True))
        gate = b.add(f"b{i}.g", Activation("hard_sigmoid"), b.conv(f"b{i}.excite", squeezed, 32, bias=True))
        y = b.add(f"b{i}.gate", Multiply(), y, gate)
        half = b.add(f"b{i}.half", Slice(-1, 0, 8), b.norm(f"b{i}.out", b.conv(f"b{i}.project", y, 16), None))
        x = b.add(f"b{i}.join", Concat(), half, b.add(f"b{i}.rest", Slice(-1, 8, 16), x))
    x = b.add("up", Upsample((16, 16), "bilinear"), x)
    x = b.add("down", AvgPool((2, 2), (2, 2)), x)
    mean = b.add("mean", Mean(-1), x)
    x = b.add("pool", GlobalPool(), b.add("scaled", Multiply(), x, b.add("sig", Activation("sigmoid"), mean)))
    return b.network(b.add("softmax", Softmax(), b.add("fc", Dense(10), b.add("flat", Reshape((16,)), x))))


NETWORKS = {"residuals": residuals(), "plain": plain(), "gated": gated(), "padded": residuals("same", 1e-3)}


def runs(network: Network, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All values for two inputs."""
    twin = Twin(network, load_weights(network, f"random:{seed}"))
    generator = np.random.Generator(np.random.PCG64(5))
    inputs = [generator.normal(size=network.inputs[0].type.shape) for _ in range(2)]
    return twin.run([inputs[0]]), twin.run([inputs[1]])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1, 2, 77])
def test_two_inputs_differ(name: str, seed: int) -> None:
    """The largest difference of the outputs is more than 10 % of the largest output."""
    first, second = runs(NETWORKS[name], seed)
    output = NETWORKS[name].outputs[0].value
    assert np.abs(first[output] - second[output]).max() > 0.1 * np.abs(first[output]).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_dies_or_explodes(name: str) -> None:
    """No value is constant, and none grows: every operator's result has a spread between a hundredth and ten."""
    first, second = runs(NETWORKS[name], 0)
    for value in first:
        assert np.isfinite(first[value]).all()
        assert np.abs(first[value] - second[value]).max() > 0.01 * np.abs(first[value]).max(), value
        assert 0.01 < np.concatenate([first[value], second[value]]).std() < 10, value


def test_most_channels_live() -> None:
    """Behind every activation, nearly all channels are somewhere neither at zero nor at six."""
    network = NETWORKS["residuals"]
    first, second = runs(network, 3)
    for node in network.nodes:
        if node.op == Activation("relu6"):
            both = np.concatenate([first[node.name], second[node.name]])
            inside = ((both > 0) & (both < 6)).any(axis=(0, 1, 2))
            assert inside.mean() > 0.9, node.name


def test_digest_is_fixed() -> None:
    """The same numbers on every machine; a change of the scheme has to be meant."""
    digest = "sha256:be0a3b3389efb5c163ec82fa97e9ec3184357795a76140739035f349de5d1ffe"
    assert load_weights(residuals(), "random:0").digest() == digest


def test_seeds_and_names_have_their_own_streams() -> None:
    network = residuals()
    zero, one = load_weights(network, "random:0"), load_weights(network, "random:1")
    assert zero == load_weights(network, "random:0")
    assert zero != one
    assert len({array.tobytes() for array in zero.tensors.values()}) == len(zero.tensors)
    other = load_weights(residuals(classes=20), "random:0")
    np.testing.assert_array_equal(zero.tensors["r3.conv", "kernel"], other.tensors["r3.conv", "kernel"])


def test_all_tensors_are_there_and_read_only() -> None:
    network = gated()
    weights = load_weights(network, "random:18446744073709551615")
    expected = {(n.name, role): t.shape for n in network.nodes for role, t in network.weights(n).items()}
    assert {key: array.shape for key, array in weights.tensors.items()} == expected
    assert all(a.dtype == np.float32 and not a.flags.writeable for a in weights.tensors.values())
    assert all((a > 0).all() for (_, role), a in weights.tensors.items() if role == "variance")
    assert weights.source == "random:18446744073709551615"


def test_rounding_errors_do_not_grow_past_the_tolerance() -> None:
    """float32 stays within verify's tolerance of float64 (median 2e-6 of the largest) through all of MobileNetV2."""
    network = load("examples/mobilenet_v2.mn", {"resolution": "96"})
    twin = Twin(network, load_weights(network, "random:0"))
    picture = np.random.default_rng(0).standard_normal(network.inputs[0].type.shape).astype(np.float32)
    name = network.outputs[0].value
    exact, rounded = (twin.run([picture], dtype=kind, keep={name})[name] for kind in ("float64", "float32"))
    assert np.median(np.abs(rounded - exact)) < 1e-6 * np.abs(exact).max()
