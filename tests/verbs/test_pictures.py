"""Pictures become inputs as the papers prepare them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mncc.language.diagnostic import DiagnosticError
from mncc.network.graph import Input, Network
from mncc.network.types import TensorType
from mncc.verbs.pictures import load_picture, load_pictures, picture_input

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def input_of(height: int, width: int, channels: int = 3, mean: bool = True) -> Input:
    type = TensorType((1, height, width, channels))
    return Input("image", type, MEAN[:channels] if mean else (), STD[:channels] if mean else ())


def picture(folder: Path, size: tuple[int, int], name: str = "p.png", mode: str = "RGB") -> Path:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path = folder / name
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.mark.parametrize("resolution", [224, 96, 97])
@pytest.mark.parametrize("size", [(451, 300), (300, 451), (64, 64), (1000, 60)])
def test_resize_and_crop_are_those_of_the_papers(tmp_path: Path, resolution: int, size: tuple[int, int]) -> None:
    path = picture(tmp_path, size)
    got = load_picture(path, input_of(resolution, resolution))

    short = round(resolution * 256 / 224)
    width, height = size
    new = (short, round(short * height / width)) if width <= height else (round(short * width / height), short)
    with Image.open(path) as opened:
        resized = np.asarray(opened.resize(new, Image.Resampling.BILINEAR), np.float64) / 255
    left, top = (new[0] - resolution) // 2, (new[1] - resolution) // 2
    expected = (resized[top : top + resolution, left : left + resolution] - MEAN) / STD
    assert got.dtype == np.float32 and got.shape == (resolution, resolution, 3)
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode in ("CMYK", "I;16") else "png"
    if mode == "I;16":
        path = tmp_path / "p.tif"
        Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)).save(path)
    else:
        path = picture(tmp_path, (80, 60), f"p.{suffix}", mode)
    assert load_picture(path, input_of(32, 32)).shape == (32, 32, 3)


def test_grey_and_oblong_inputs(tmp_path: Path) -> None:
    path = picture(tmp_path, (80, 60))
    assert load_picture(path, input_of(28, 28, 1)).shape == (28, 28, 1)
    assert load_picture(path, input_of(32, 64)).shape == (32, 64, 3)
    assert load_picture(path, input_of(64, 32, mean=False)).max() <= 1


def test_blue_first(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (255, 51, 0)).save(tmp_path / "p.png")
    input = Input("image", TensorType((1, 16, 16, 3)), (0.1, 0.2, 0.3), (1.0, 1.0, 2.0), "BGR")
    np.testing.assert_allclose(load_picture(tmp_path / "p.png", input)[3, 4], [-0.1, 0.0, 0.35], atol=1e-6)


def test_an_upright_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20] = 255
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 3
    turned.save(tmp_path / "p.jpg", exif=exif)
    got = load_picture(tmp_path / "p.jpg", input_of(16, 16, mean=False))
    assert got[0].mean() < 0.2 and got[-1].mean() > 0.8


def test_all_broken_pictures_are_named(tmp_path: Path) -> None:
    good = picture(tmp_path, (80, 60), "good.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:2000])
    broken = [tmp_path / name for name in ("text.png", "empty.png", "cut.png", "missing.png", ".")]
    with pytest.raises(DiagnosticError) as caught:
        load_pictures([good, *broken], input_of(32, 32))
    assert len(caught.value.diagnostics) == len(broken)
    for path, diagnostic in zip(broken, caught.value.diagnostics, strict=True):
        assert str(path) in diagnostic.title
        assert diagnostic.help


def test_networks_that_take_no_picture() -> None:
    vector = Input("x", TensorType((1, 10)))
    two = (input_of(32, 32), input_of(32, 32))
    for inputs in ((vector,), two, (input_of(32, 32, 2),)):
        with pytest.raises(DiagnosticError, match="does not take one picture"):
            picture_input(Network("net", inputs, (), ()))
