"""What the tests of other machines need: an emulator and a cross compiler. Without them they are skipped."""

from __future__ import annotations

import shutil

import pytest

ARM = ("arm64", "arm64-cortex-a72", "armv7")
_NEEDED = {
    "aarch64": ("qemu-aarch64", "aarch64-linux-gnu-gcc"),
    "arm": ("qemu-arm", "arm-linux-gnueabihf-gcc"),
}


def lacking(target: str) -> list[str]:
    """What this machine lacks to build for an Arm target and to run it."""
    programs = _NEEDED["arm" if target == "armv7" else "aarch64"]
    return [program for program in programs if shutil.which(program) is None]


def emulated(target: str) -> object:
    """The target as a parameter of a test that needs to run its programs."""
    missing = lacking(target)
    return pytest.param(target, marks=pytest.mark.skipif(bool(missing), reason=f"needs {' and '.join(missing)}"))
