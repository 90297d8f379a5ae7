"""The twin runs whole networks: every value, or those that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mncc.reference import Twin
from mncc.weights import load_weights
from tests.weights.nets import residuals


def sequential(twin: Twin) -> torch.nn.Module:
    """The first three nodes as torch modules, written out by hand."""
    weights = twin.weights.tensors
    conv = torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False)
    norm = torch.nn.BatchNorm2d(8, eps=1e-5)
    conv.weight.data = torch.tensor(weights["r0.conv", "kernel"]).permute(3, 2, 0, 1)
    norm.weight.data, norm.bias.data = (torch.tensor(weights["r0.norm", role]) for role in ("gamma", "beta"))
    norm.running_mean = torch.tensor(weights["r0.norm", "mean"])
    norm.running_var = torch.tensor(weights["r0.norm", "variance"])
    return torch.nn.Sequential(conv, norm, torch.nn.ReLU6()).double().eval()


@pytest.fixture(scope="module")
def twin() -> Twin:
    network = residuals()
    return Twin(network, load_weights(network, "random:0"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.Generator(np.random.PCG64(0)).normal(size=(1, 16, 16, 3))


def test_against_torch_modules(twin: Twin, image: np.ndarray) -> None:
    with torch.inference_mode():
        expected = sequential(twin)(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(twin.run([image])["r0.act"], expected, atol=1e-12)


def test_all_values_or_some(twin: Twin, image: np.ndarray) -> None:
    everything = twin.run([image])
    assert set(everything) == set(twin.network.types)
    assert all(everything[name].shape == t.shape for name, t in twin.network.types.items())
    assert all(array.dtype == np.float64 for array in everything.values())
    some = twin.run([image], keep={"image", "r2.add", "r5.dense"})
    assert set(some) == {"image", "r2.add", "r5.dense"}
    for name, array in some.items():
        np.testing.assert_array_equal(array, everything[name])


def test_float32_and_threads(twin: Twin, image: np.ndarray) -> None:
    before = torch.get_num_threads()
    single = twin.run([image], dtype="float32", keep={"r5.dense"}, threads=1)["r5.dense"]
    assert torch.get_num_threads() == before
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, twin.run([image])["r5.dense"], rtol=1e-4, atol=1e-5)


def test_inputs_are_left_alone(twin: Twin) -> None:
    image = np.ones((1, 16, 16, 3), np.float32)
    twin.run([image], dtype="float32")
    assert (image == 1).all()


def test_wrong_inputs(twin: Twin, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="tiny has 1 inputs, but 2 were given"):
        twin.run([image, image])
    with pytest.raises(ValueError, match=r"input image has shape \(1, 8, 16, 3\) instead of \(1, 16, 16, 3\)"):
        twin.run([image[:, :8]])
    with pytest.raises(KeyError, match="tiny has no value named nothing"):
        twin.run([image], keep={"nothing"})
