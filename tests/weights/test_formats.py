"""Every format and naming leads to the same weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Network
from mncc.network.ops import Activation, Concat, Conv2d, Dense, Norm, Reshape
from mncc.reference import Twin
from mncc.weights import Weights, load_weights, save_weights
from tests.weights.nets import KERAS, TIMM, TORCHVISION, Builder, keras_state, residuals, torch_state


def torch_file(path: Path, state: dict[str, np.ndarray]) -> str:
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    return str(path)


def h5_file(
    path: Path, state: dict[str, np.ndarray], layers: tuple[str, ...], nested: bool = False, **attributes: str
) -> str:
    """Keras's legacy layout: layer_names and weight_names; `nested` as model.save writes a model inside a model."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if nested else file
        for name, text in attributes.items():
            file.attrs[name] = text
        owners = {"base": layers[:-1], layers[-1]: layers[-1:]} if nested else {layer: (layer,) for layer in layers}
        group.attrs["layer_names"] = [name.encode() for name in ["input_1", *owners]]
        group.create_group("input_1").attrs["weight_names"] = []
        for owner, inside in owners.items():
            layer = group.create_group(owner)
            keys = [key for name in inside for key in state if key.startswith(f"{name}/")]
            if nested:  # trainable weights first, as of a partly frozen model
                keys.sort(key=lambda key: not key.startswith("block_2"))
            layer.attrs["weight_names"] = [f"{key}:0".encode() for key in keys]
            for key in keys:
                layer[f"{key}:0"] = state[key]
    return str(path)


def config(layers: tuple[str, ...], nested: bool, epsilon: float = 1e-3) -> str:
    """A model_config that names the layers in order."""

    def entry(name: str) -> dict:
        if name.endswith(("BN", "bn")) or name.startswith("bn"):
            return {"class_name": "BatchNormalization", "config": {"name": name, "epsilon": epsilon}}
        kinds = {"depthwise": "DepthwiseConv2D", "predictions": "Dense"}
        kind = next((kind for word, kind in kinds.items() if name.endswith(word)), "Conv2D")
        return {"class_name": kind, "config": {"name": name, "use_bias": kind == "Dense"}}

    entries = [entry(name) for name in layers]
    if nested:
        base = {"class_name": "Functional", "config": {"name": "base", "layers": entries[:-1]}}
        entries = [base, entries[-1]]
    first = {"class_name": "InputLayer", "config": {"name": "input_1"}}
    return json.dumps({"class_name": "Functional", "config": {"name": "model", "layers": [first, *entries]}})


@pytest.mark.parametrize("names", [TORCHVISION, TIMM], ids=["torchvision", "timm"])
@pytest.mark.parametrize("format", ["safetensors", "pth", "nested", "parallel", "half"])
def test_torch_namings(tmp_path: Path, names: tuple[str, ...], format: str) -> None:
    network = residuals()
    weights = load_weights(network, "random:3")
    state = torch_state(network, weights, names)
    path = tmp_path / ("w.safetensors" if format == "safetensors" else "w.pt")
    if format == "safetensors":
        save_file(state, path)
    elif format == "nested":
        tensors = {name: torch.from_numpy(array) for name, array in state.items()}
        torch.save({"epoch": 3, "model": {"state_dict": tensors}}, path)
    elif format == "parallel":
        torch_file(path, {f"module.{name}": array for name, array in reversed(state.items())})
    elif format == "half":
        weights = Weights({k: a.astype(np.float16).astype(np.float32) for k, a in weights.tensors.items()}, "")
        torch_file(path, {k: a if a.dtype == np.int64 else a.astype(np.float16) for k, a in state.items()})
    else:
        torch_file(path, state)
    loaded = load_weights(network, str(path))
    assert loaded == weights
    assert loaded.source == f"{path.name} ({'timm' if names is TIMM else 'torchvision'})"
    assert loaded.warnings == ()


def test_bfloat16_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_torch

    network = residuals()
    weights = load_weights(network, "random:3")
    state = torch_state(network, weights, TORCHVISION)
    save_torch({k: torch.from_numpy(a).to(torch.bfloat16) for k, a in state.items()}, tmp_path / "w.safetensors")
    loaded = load_weights(network, str(tmp_path / "w.safetensors"))
    for key, array in weights.tensors.items():
        np.testing.assert_allclose(loaded.tensors[key], array, rtol=2**-8)


@pytest.mark.parametrize("nested", [False, True])
def test_keras_h5(tmp_path: Path, nested: bool) -> None:
    """Weights alone, in the file's order; a partly frozen model in the order that its model_config says."""
    network = residuals("same", 1e-3)
    weights = load_weights(network, "random:4")
    attributes = {"model_config": config(KERAS, nested)} if nested else {}
    path = h5_file(tmp_path / "w.h5", keras_state(network, weights, KERAS), KERAS, nested, **attributes)
    loaded = load_weights(network, path)
    assert loaded == weights
    assert loaded.source == "w.h5 (Keras)"


def test_keras_archive(tmp_path: Path) -> None:
    """Keras 3: layers are numbered by class inside their model, variables by their order."""
    network = residuals("same", 1e-3)
    weights = load_weights(network, "random:4")
    path = tmp_path / "w.keras"
    write_keras(path, keras_state(network, weights, KERAS))
    assert load_weights(network, str(path)) == weights


def write_keras(path: Path, state: dict[str, np.ndarray]) -> None:
    inner = path.with_suffix(".inner")
    text = config(KERAS, nested=True)
    counts: dict[str, int] = {}
    with h5py.File(inner, "w") as file:
        for layer in json.loads(text)["config"]["layers"][1]["config"]["layers"]:
            snake = {
                "BatchNormalization": "batch_normalization",
                "DepthwiseConv2D": "depthwise_conv2d",
                "Conv2D": "conv2d",
            }
            word = snake[layer["class_name"]]
            number = counts.get(word, 0)
            counts[word] = number + 1
            place = f"layers/functional/layers/{word}" + (f"_{number}" if number else "")
            keys = [key for key in state if key.startswith(f"{layer['config']['name']}/")]
            for variable, key in enumerate(keys):
                file[f"{place}/vars/{variable}"] = state[key]
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = (
            state["predictions/kernel"],
            state["predictions/bias"],
        )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", text)
        archive.writestr("metadata.json", "{}")
        archive.write(inner, "model.weights.h5")


def weights_alone(path: Path, state: dict[str, np.ndarray], named: bool = True) -> str:
    """As Keras 3's save_weights writes a model inside a model: layers numbered by class, their names as attributes."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        for name in dict.fromkeys(key.partition("/")[0] for key in state):
            keys = [key for key in state if key.startswith(f"{name}/")]
            roles = {key.partition("/")[2] for key in keys}
            kinds = {"gamma": "batch_normalization", "depthwise_kernel": "depthwise_conv2d"}
            word = next((kind for role, kind in kinds.items() if role in roles), "conv2d")
            if "moving_mean" in roles:
                word = "batch_normalization"
            place = "layers/dense" if name == "predictions" else "layers/functional/layers/" + numbered(word, counts)
            for variable, key in enumerate(keys):
                file[f"{place}/vars/{variable}"] = state[key]
            if named:
                file[f"{place}/vars"].attrs["name"] = name
    return str(path)


def numbered(word: str, counts: dict[str, int]) -> str:
    number = counts.get(word, 0)
    counts[word] = number + 1
    return word + (f"_{number}" if number else "")


@pytest.mark.parametrize("named", [True, False])
def test_keras_weights_alone(named: bool, tmp_path: Path) -> None:
    """Only the order within each class is known, and that suffices."""
    network = residuals("same", 1e-3)
    weights = load_weights(network, "random:4")
    path = weights_alone(tmp_path / "w.weights.h5", keras_state(network, weights, KERAS), named)
    assert load_weights(network, path) == weights


def test_keras_norms_without_gamma(tmp_path: Path) -> None:
    """`scale=False`: a gamma of 1."""
    network = residuals("same", 1e-3)
    weights = load_weights(network, "random:4")
    ones = {key: np.ones_like(array) if key[1] == "gamma" else array for key, array in weights.tensors.items()}
    state = {key: array for key, array in keras_state(network, weights, KERAS).items() if not key.endswith("gamma")}
    for path in (h5_file(tmp_path / "w.h5", state, KERAS), weights_alone(tmp_path / "w.weights.h5", state)):
        loaded = load_weights(network, path)
        assert loaded == Weights(ones, "")
        assert ("are taken to have no gamma" in " ".join(loaded.warnings)) == path.endswith(".weights.h5")


def test_keras_branches_are_in_the_order_of_their_creation(tmp_path: Path) -> None:
    """Which automatic names say; the file has the layers by their distance from the output."""
    network = branches(8, 8, 8)
    weights = load_weights(network, "random:0")
    names = ("conv2d", "conv2d_2", "conv2d_10")
    state = keras_state(network, weights, names)
    for name in names:
        state[f"{name}/kernel"] = state[f"{name}/kernel"].reshape(1, 1, 3, 8)
    assert load_weights(network, h5_file(tmp_path / "w.h5", state, (names[2], names[0], names[1]))) == weights


def test_keras_says_its_epsilon(tmp_path: Path) -> None:
    """A file whose model has another epsilon than Keras's usual one is taken at its word."""
    network = residuals("same", 2e-5)
    weights = load_weights(network, "random:4")
    state = keras_state(network, weights, KERAS)
    text = config(KERAS, False, epsilon=2e-5)
    assert load_weights(network, h5_file(tmp_path / "w.h5", state, KERAS, model_config=text)) == weights


def test_timm_with_the_operators_of_v2_alone_has_no_tf_variants(tmp_path: Path) -> None:
    network = residuals("same", 1e-3)
    path = torch_file(tmp_path / "w.pth", torch_state(network, load_weights(network, "random:3"), TIMM))
    with pytest.raises(DiagnosticError, match="timm weights were trained with symmetric padding"):
        load_weights(network, path)


def test_timm_tf_variants_are_taken_with_a_warning(tmp_path: Path) -> None:
    network = residuals("same", 1e-3, kernel=5)
    weights = load_weights(network, "random:3")
    loaded = load_weights(network, torch_file(tmp_path / "w.pth", torch_state(network, weights, TIMM)))
    assert loaded == weights
    assert loaded.warnings == (
        "these timm weights are taken for a tf_ variant, ported from TensorFlow (its names do not tell)",
    )


@pytest.mark.parametrize("names", [TORCHVISION, KERAS], ids=["torchvision", "Keras"])
def test_linear_and_pointwise_classifiers_stand_for_each_other(tmp_path: Path, names: tuple[str, ...]) -> None:
    keras = names is KERAS
    settings = ("same", 1e-3) if keras else ("symmetric", 1e-5)
    dense, pointwise = residuals(*settings), residuals(*settings, flat_classifier=False)
    weights = load_weights(dense, "random:5")
    expected = weights.tensors["r5.dense", "kernel"]
    for source, target, key in ((dense, pointwise, "r5.conv"), (pointwise, dense, "r5.dense")):
        tensors = dict(weights.tensors)
        for role in ("kernel", "bias"):
            array = tensors.pop(("r5.dense", role))
            name = "r5.dense" if source is dense else "r5.conv"
            tensors[name, role] = array if source is dense or role == "bias" else array[None, None]
        held = Weights(tensors, "")
        if keras:
            path = h5_file(tmp_path / "w.h5", keras_state(source, held, names), names)
        else:
            path = torch_file(tmp_path / "w.pth", torch_state(source, held, names))
        loaded = load_weights(target, path)
        np.testing.assert_array_equal(loaded.tensors[key, "kernel"].reshape(expected.shape), expected)


def test_own_names_round_trip(tmp_path: Path) -> None:
    network = residuals()
    weights = load_weights(network, "random:6")
    save_weights(weights, tmp_path / "w.safetensors")
    loaded = load_weights(network, str(tmp_path / "w.safetensors"))
    assert loaded == weights
    assert loaded.source == "w.safetensors (mncc)"
    save_weights(loaded, tmp_path / "again.safetensors")
    assert load_weights(network, str(tmp_path / "again.safetensors")).digest() == weights.digest()


def flat_network() -> Network:
    """A classifier on a flattened picture, with a norm between: torch counts (C, H, W), mncc (H, W, C)."""
    b = Builder(("row",), size=4)
    x = b.add("act", Activation("relu"), b.add("conv", Conv2d(5, (3, 3), (2, 1), ((1, 1), (1, 1))), "image"))
    x = b.add("flat", Reshape((2 * 4 * 5,)), x)
    x = b.add("norm", Norm(), x)
    return b.network(b.add("fc", Dense(7), x))


def test_torchs_flattening(tmp_path: Path) -> None:
    network = flat_network()
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, (2, 1), 1, bias=False),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.BatchNorm1d(40),
        torch.nn.Linear(40, 7),
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for buffer in (*module.parameters(), module[3].running_mean, module[3].running_var):
        buffer.data = torch.rand(buffer.shape, generator=generator) + 0.1
    torch.save(module.state_dict(), tmp_path / "w.pth")
    x = np.random.Generator(np.random.PCG64(0)).normal(size=(1, 4, 4, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    got = Twin(network, load_weights(network, str(tmp_path / "w.pth"))).run([x], keep=["fc"])["fc"]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_another_order_is_found_by_shape(tmp_path: Path) -> None:
    """Parallel branches may be named in another order than the network defines them in: said in a warning."""
    network = branches(8, 5)
    weights = load_weights(network, "random:0")
    save_file(torch_state(network, weights, ("branch2", "branch1")), tmp_path / "w.safetensors")
    loaded = load_weights(network, str(tmp_path / "w.safetensors"))
    assert loaded == weights
    assert len(loaded.warnings) == 1
    assert "matched by their shapes: branch" in loaded.warnings[0]


def branches(*channels: int) -> Network:
    """Convolutions beside each other."""
    b = Builder(("row",))
    return b.network(b.add("join", Concat(), *(b.conv(f"conv{i}", "image", c) for i, c in enumerate(channels))))


def test_a_state_dict_has_the_order_of_definition(tmp_path: Path) -> None:
    """Which decides where shapes do not; the names' order does where it fits better, or the file has no order."""
    network = branches(8, 8)
    weights = load_weights(network, "random:0")
    state = torch_state(network, weights, ("second", "first"))
    assert load_weights(network, torch_file(tmp_path / "w.pth", state)) == weights
    save_file(state, tmp_path / "w.safetensors")
    assert load_weights(network, str(tmp_path / "w.safetensors")) != weights

    network = branches(8, 5)
    weights = load_weights(network, "random:0")
    state = dict(reversed(torch_state(network, weights, ("branch1", "branch2")).items()))
    loaded = load_weights(network, torch_file(tmp_path / "w.pth", state))
    assert loaded == weights
    assert loaded.warnings == ()


def test_heads_for_training_are_left_out(tmp_path: Path) -> None:
    network = branches(8, 8)
    weights = load_weights(network, "random:0")
    state = torch_state(network, weights, ("branch1", "branch2"))
    state |= {"aux1.conv.weight": np.zeros((4, 4, 1, 1)), "AuxLogits.fc.weight": np.zeros((4, 4))}
    loaded = load_weights(network, torch_file(tmp_path / "w.pth", state))
    assert loaded == weights
    assert loaded.warnings == ("heads that only training uses were left out: aux1, AuxLogits",)


def test_digest_tells_values_names_and_shapes() -> None:
    a = Weights({("n", "kernel"): np.arange(6, dtype=np.float32).reshape(2, 3)}, "a")
    assert a == Weights({("n", "kernel"): np.arange(6, dtype=np.float32).reshape(2, 3)}, "b")
    assert a != Weights({("n", "kernel"): np.arange(6, dtype=np.float32).reshape(3, 2)}, "a")
    assert a != Weights({("m", "kernel"): np.arange(6, dtype=np.float32).reshape(2, 3)}, "a")
    assert a != Weights({("n", "kernel"): np.ones((2, 3), np.float32)}, "a")
    assert len({a, Weights(a.tensors, "c")}) == 1
