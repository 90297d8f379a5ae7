"""examples/cpp builds against the package of a build, runs in its three ways, and says what is wrong with a picture."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mncc.library.write import write_library
from tests.library.conftest import says
from tests.library.toy import CHANNELS, HEIGHT, WIDTH, classifier_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.ppm"
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, CHANNELS), np.uint8)
    path.write_bytes(b"P6\n# a comment\n%d %d\n255\n" % (WIDTH, HEIGHT) + pixels.tobytes())
    return path


def test_cmake_project(tmp_path: Path, picture: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    out = tmp_path / "out"
    write_library(classifier_spec("mobilenet_v2"), out)
    build = tmp_path / "build"
    says("cmake", "-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={out}")
    says("cmake", "--build", build)
    (tmp_path / "labels.txt").write_text("".join(f"thing {n}\n" for n in range(6)))
    lines = says(build / "classify", picture, tmp_path / "labels.txt").splitlines()
    assert lines[0].endswith("ms on 2 threads") and len(lines) == 6
    assert all(" thing " in line or " class 6" in line for line in lines[1:])
    chances = [float(line.split()[0]) for line in lines[1:]]
    assert chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1.001

    (tmp_path / "other.ppm").write_bytes(b"P6 2 1 255\n123456")
    (tmp_path / "short.ppm").write_bytes(picture.read_bytes()[:-1])
    (tmp_path / "not.ppm").write_text("hello")
    complaints = {"other.ppm": "2x1, the network takes 4x5", "short.ppm": "ends before", "not.ppm": "not a binary PPM"}
    for name, complaint in {**complaints, "missing.ppm": "cannot be opened"}.items():
        done = subprocess.run([build / "classify", tmp_path / name], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and complaint in done.stderr


@pytest.mark.parametrize("flags", [("-fsanitize=address,undefined", "-fno-sanitize-recover"), ("-fsanitize=thread",)])
def test_sanitizers(flags: tuple[str, ...], tmp_path: Path, picture: Path) -> None:
    files = write_library(classifier_spec("mobilenet_v2", flags=flags), tmp_path / "out", cflags=flags)
    program = tmp_path / "classify"
    sources = [str(path) for path in sorted(EXAMPLE.glob("*.cpp"))]
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    command = ["g++", "-std=c++17", "-g", *warnings, *flags, f"-I{files.directory}", *sources, str(files.static)]
    subprocess.run([*command, "-pthread", "-lm", "-o", str(program)], check=True)
    assert len(says(program, picture).splitlines()) == 6
