"""Everything that can be wrong with weights, each with the diagnostic that it leads to in errors/."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Network
from mncc.weights import load_weights, save_weights
from tests.weights.nets import KERAS, TIMM, TORCHVISION, keras_state, residuals, torch_state
from tests.weights.test_formats import config, h5_file, torch_file, weights_alone, write_keras

HERE = Path(__file__).parent
State = dict[str, np.ndarray]


def refusal(network: Network, spec: str) -> str:
    """The diagnostics of a load, which has to fail."""
    with pytest.raises(DiagnosticError) as caught:
        load_weights(network, spec)
    return str(caught.value) + "\n"


def drop(*names: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        for name in [key for key in state if key.startswith(names)]:
            del state[name]

    return change


def put(name: str, value: Callable[[np.ndarray], np.ndarray]) -> Callable[[State], None]:
    def change(state: State) -> None:
        state[name] = value(state[name] if name in state else np.zeros(0, np.float32))

    return change


def poisoned(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.reshape(-1)[:2] = value
        return array

    return change


def many(state: State) -> None:
    for name in state:
        if name.endswith(".running_var"):
            state[name] = -state[name]


CHANGES: dict[str, Callable[[State], None]] = {
    "missing_tensor": drop("features.1.conv.1.1.running_var"),
    "missing_bias": drop("classifier.1.bias"),
    "missing_module": drop("features.2.conv.2."),
    "missing_last": drop("classifier."),
    "extra_bias": put("features.2.conv.0.0.bias", lambda _: np.zeros(24, np.float32)),
    "extra_module": put("features.2.conv.4.weight", lambda _: np.zeros((12, 12, 3, 3), np.float32)),
    "extra_strange": put("features.2.conv.4.weight", lambda _: np.zeros((1, 2, 3), np.float32)),
    "wrong_kernel": put("features.1.conv.1.0.weight", lambda a: np.zeros((16, 1, 5, 5), np.float32)),
    "wrong_channels": put("features.3.1.bias", lambda a: a[:-1]),
    "wrong_type": put("features.3.0.weight", lambda a: a.astype(np.int32)),
    "not_finite": put("features.0.0.weight", poisoned(np.nan)),
    "too_large": put("features.0.0.weight", lambda a: poisoned(1e300)(a.astype(np.float64))),
    "negative_variance": put("features.0.1.running_var", poisoned(-0.5)),
    "many": many,
}


@pytest.mark.parametrize("case", CHANGES)
def test_tensors(case: str, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    network = residuals()
    state = torch_state(network, load_weights(network, "random:1"), TORCHVISION)
    CHANGES[case](state)
    text = refusal(network, torch_file(tmp_path / "w.pth", state))
    golden(HERE / "errors" / f"{case}.err", text)


def test_all_errors_at_once(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    network = residuals("same")
    state = torch_state(network, load_weights(network, "random:1"), TORCHVISION)
    for case in ("missing_tensor", "extra_bias", "not_finite", "wrong_kernel"):
        CHANGES[case](state)
    golden(HERE / "errors" / "five_at_once.err", refusal(network, torch_file(tmp_path / "w.pth", state)))


CONVENTIONS = {
    "padding_torchvision": (("same", 1e-5), TORCHVISION),
    "epsilon_torchvision": (("symmetric", 1e-3), TORCHVISION),
    "both_torchvision": (("same", 1e-3), TORCHVISION),
    "padding_timm": (("same", 1e-5), TIMM),
    "padding_keras": (("symmetric", 1e-3), KERAS),
    "epsilon_keras": (("same", 1e-5), KERAS),
}


@pytest.mark.parametrize("case", CONVENTIONS)
def test_conventions(case: str, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    settings, names = CONVENTIONS[case]
    network = residuals(*settings)
    weights = load_weights(network, "random:1")
    if names is KERAS:
        path = h5_file(tmp_path / "w.h5", keras_state(network, weights, names), names)
    else:
        path = torch_file(tmp_path / "w.pth", torch_state(network, weights, names))
    golden(HERE / "errors" / f"{case}.err", refusal(network, path))


def test_padding_that_makes_no_difference_is_not_mentioned(tmp_path: Path) -> None:
    """A valid stem (SqueezeNet's) and strides on odd sizes agree with every producer."""
    from tests.weights.nets import Builder

    b = Builder(("row",), size=15, padding="valid")
    x = b.conv("stem", "image", 4, 3, 2)
    b.padding = "same"
    network = b.network(b.conv("next", x, 4, 3, 2))
    state = torch_state(network, load_weights(network, "random:0"), ("features.0", "features.1"))
    load_weights(network, torch_file(tmp_path / "w.pth", state))


def test_another_number_of_classes(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    network = residuals(classes=10)
    state = torch_state(residuals(classes=37), load_weights(residuals(classes=37), "random:1"), TORCHVISION)
    golden(HERE / "errors" / "classes.err", refusal(network, torch_file(tmp_path / "w.pth", state)))


def other(trained: Network, names: tuple[str, ...] = TORCHVISION) -> State:
    return torch_state(trained, load_weights(trained, "random:1"), names)


def longer() -> State:
    return other(residuals()) | {f"features.{i}.weight": np.zeros((24, 24, 3, 3), np.float32) for i in range(20, 28)}


def biased() -> State:
    state = other(residuals())
    layers = [name for name, array in state.items() if array.ndim == 4]
    return state | {name.replace("weight", "bias"): np.zeros(state[name].shape[0], np.float32) for name in layers}


def scaled(width: float) -> tuple[Network, State]:
    """A network with a width of 0.5, and the weights of another one."""
    network = residuals(width=2)
    return replace(network, settings={"width": 0.5, "classes": 10}), other(residuals(width=round(4 * width)))


ANOTHER: dict[str, tuple[Network, State]] = {
    "another_size": (residuals(classes=5), other(residuals(width=2))),
    "another_width": scaled(0.75),
    "another_longer": (residuals(), longer()),
    "another_shorter": (residuals(), dict(list(other(residuals()).items())[:24])),
    "another_biases": (residuals(), biased()),
    "another_kernels": (residuals(), other(residuals(kernel=5, width=3), TIMM)),
}


@pytest.mark.parametrize("case", ANOTHER)
def test_another_network(case: str, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    """One error that says so."""
    network, state = ANOTHER[case]
    text = refusal(network, torch_file(tmp_path / "w.pth", state))
    assert text.count("error:") == 1
    golden(HERE / "errors" / f"{case}.err", text)


def test_another_network_with_own_names(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    tensors = {f"{n}.{r}": a for (n, r), a in load_weights(residuals(), "random:1").tensors.items()}
    save_file({f"backbone.{name}": array for name, array in tensors.items()}, tmp_path / "w.safetensors")
    golden(HERE / "errors" / "another_own.err", refusal(residuals(), str(tmp_path / "w.safetensors")))


def test_many_errors(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    """Ten errors and a count."""
    network = residuals()
    state = torch_state(network, load_weights(network, "random:1"), TORCHVISION)
    for name in state:
        if name.endswith((".running_var", ".running_mean")):
            state[name] = np.full_like(state[name], np.nan)
    golden(HERE / "errors" / "sixteen.err", refusal(network, torch_file(tmp_path / "w.pth", state)))


def test_own_names(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    network = residuals()
    tensors = {f"{n}.{r}": a for (n, r), a in load_weights(network, "random:1").tensors.items()}
    del tensors["r1.dw.conv.kernel"], tensors["r3.norm.mean"]
    tensors["r9.conv.kernel"] = np.zeros((1, 1, 2, 2), np.float32)
    save_file(tensors, tmp_path / "w.safetensors")
    golden(HERE / "errors" / "own_names.err", refusal(network, str(tmp_path / "w.safetensors")))


class Evil:
    """A pickle that runs a command when it is loaded without care."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch was_run",)


def files(network: Network) -> dict[str, Callable[[Path], object]]:
    """File name -> what writes it, for files that are wrong as a whole."""
    weights = load_weights(network, "random:1")
    keras = keras_state(network, weights, KERAS)

    def no_config(path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.weights.h5", b"")

    def no_layers(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            file["weights/0"] = np.zeros(3)

    def outside(path: Path) -> None:
        import h5py

        h5_file(path, keras, KERAS)
        with h5py.File(path, "a") as file:
            del file["Conv1/Conv1/kernel:0"]
            file["Conv1/Conv1/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/")

    return {
        "evil.pth": lambda path: path.write_bytes(pickle.dumps(Evil())),
        "module.pth": lambda path: torch.save(torch.nn.Linear(2, 2), path),
        "evil_inside.pth": lambda path: torch.save({"state_dict": {"a.weight": torch.zeros(2)}, "x": Evil()}, path),
        "list.pt": lambda path: torch.save([torch.zeros(2)], path),
        "optimizer.pt": lambda path: torch.save({"epoch": 3, "lr": 0.1}, path),
        "empty.pt": lambda path: torch.save({}, path),
        "nothing.pth": lambda path: path.write_bytes(b""),
        "text.h5": lambda path: path.write_text("not hdf5 at all"),
        "no_config.keras": no_config,
        "no_model.h5": no_layers,
        "outside.h5": outside,
        "none.safetensors": lambda path: path.write_bytes(save({})),
        "strange.safetensors": lambda path: save_file({"a": np.zeros(2), "b": np.zeros(3)}, path),
        "missing.pth": lambda path: None,
        "folder.pth": lambda path: path.mkdir(),
        "net.onnx": lambda path: path.write_bytes(b"?"),
    }


@pytest.mark.parametrize("name", files(residuals()))
def test_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[Path, str], None]) -> None:
    monkeypatch.chdir(tmp_path)
    network = residuals()
    files(network)[name](Path(name))
    text = refusal(network, name)
    assert not Path("was_run").exists()
    golden(HERE / "errors" / f"file_{name.replace('.', '_')}.err", text)


@pytest.mark.parametrize("seed", ["", "-1", "x", "1.5", "²", "18446744073709551616", "9" * 5000])
def test_seeds(seed: str) -> None:
    assert "needs a whole number from 0 to 18446744073709551615" in refusal(residuals(), f"random:{seed}")


def test_seed_message(golden: Callable[[Path, str], None]) -> None:
    golden(HERE / "errors" / "seed.err", refusal(residuals(), "random:cat"))


def whole_files(folder: Path, network: Network) -> list[Path]:
    """One good file a format."""
    weights = load_weights(network, "random:1")
    torch_file(folder / "w.pth", torch_state(network, weights, TORCHVISION))
    tensors = {k: torch.from_numpy(a) for k, a in torch_state(network, weights, TIMM).items()}
    torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_weights(weights, folder / "w.safetensors")
    return [folder / "w.pth", folder / "old.pt", folder / "w.safetensors"]


def keras_files(folder: Path, network: Network) -> list[Path]:
    state = keras_state(network, load_weights(network, "random:1"), KERAS)
    h5_file(folder / "w.h5", state, KERAS, model_config=config(KERAS, False))
    write_keras(folder / "w.keras", state)
    weights_alone(folder / "w.weights.h5", state)
    return [folder / "w.h5", folder / "w.keras", folder / "w.weights.h5"]


def test_cut_files(tmp_path: Path) -> None:
    """Whatever is left of a file leads to a diagnostic and nothing else."""
    symmetric, same = residuals(), residuals("same", 1e-3)
    for network, paths in ((symmetric, whole_files(tmp_path, symmetric)), (same, keras_files(tmp_path, same))):
        for path in paths:
            content = path.read_bytes()
            for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
                path.write_bytes(content[: int(len(content) * share)])
                with pytest.raises(DiagnosticError):
                    load_weights(network, str(path))


def test_damaged_files(tmp_path: Path) -> None:
    """Changed bytes lead to weights or to a diagnostic, never to another exception."""
    generator = np.random.Generator(np.random.PCG64(1))
    symmetric, same = residuals(), residuals("same", 1e-3)
    for network, paths in ((symmetric, whole_files(tmp_path, symmetric)), (same, keras_files(tmp_path, same)[1:])):
        for path in paths:
            content = path.read_bytes()
            for _ in range(40):
                damaged = bytearray(content)
                start = int(generator.integers(0, min(len(content), 4000)))
                for place in generator.integers(start, min(start + 64, len(content)), 4):
                    damaged[place] = int(generator.integers(0, 256))
                path.write_bytes(bytes(damaged))
                with contextlib.suppress(DiagnosticError):
                    load_weights(network, str(path))


def test_a_shape_that_no_memory_holds(tmp_path: Path) -> None:
    """A tensor's bytes are only made when its shape is right."""
    network = residuals()
    state = {
        k: torch.from_numpy(a) for k, a in torch_state(network, load_weights(network, "random:1"), TORCHVISION).items()
    }
    state["features.0.0.weight"] = torch.zeros(1).expand(2**20, 2**10, 2**10, 2**10)
    torch.save(state, tmp_path / "w.pth")
    assert "has shape 1048576x1024x1024x1024" in refusal(network, str(tmp_path / "w.pth"))


def test_a_tensor_without_data(tmp_path: Path) -> None:
    network = residuals()
    arrays = torch_state(network, load_weights(network, "random:1"), TORCHVISION)
    state = {k: torch.from_numpy(a) for k, a in arrays.items()}
    state["features.0.0.weight"] = state["features.0.0.weight"].to("meta")
    torch.save(state, tmp_path / "w.pth")
    assert "features.0.0.weight has a shape and no data" in refusal(network, str(tmp_path / "w.pth"))


def test_what_loading_imports() -> None:
    """Random weights need no torch; only the file formats that do import it, and h5py."""
    code = (
        "import sys; from tests.weights.nets import residuals; from mncc.weights import load_weights;"
        "load_weights(residuals(), 'random:0'); assert not {'tvm', 'torch', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE.parents[1])


def test_unreadable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(residuals(), str(path))
