"""The loops that LLVM makes for arm64 and armv7: sums stay in registers, and multiplications are most of what runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mncc.backend import compile_kernels
from mncc.elaborate import load
from mncc.kernels.target import load_target
from mncc.plan import make_plan

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
PLACE = re.compile(r"\b([0-9a-f]+) <")
FUSED = re.compile(r"(fmla|vfma\.f32)\s")
BY_LANE = re.compile(r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[")
VECTOR_ON_STACK = re.compile(r"\b[qd]\d+.*\[sp|vldmia\s+sp|vstmia\s+sp")
WHOLE = 80
"""Multiplications of a step of whole register tiles; those at the ends of rows are smaller."""


def innermost_loops(code: Path, objdump: str) -> list[list[str]]:
    """The bodies of loops that hold no other loop: from a backward jump's target to the jump."""
    dump = [objdump, "-d", "--no-show-raw-insn", str(code)]
    listing = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    lines = [m.groups() for line in listing.splitlines() if (m := INSTRUCTION.match(line))]
    at = {address: i for i, (address, _, _) in enumerate(lines)}
    loops = []
    for i, (_, name, rest) in enumerate(lines):
        target = PLACE.search(rest)
        if name.startswith(("b", "cb", "tb")) and name != "bl" and target and at.get(target[1], i) < i:
            loops.append((at[target[1]], i))
    inner = [(a, b) for a, b in loops if not any(a <= c and d <= b and (c, d) != (a, b) for c, d in loops)]
    return [[f"{name} {rest}" for _, name, rest in lines[a : b + 1]] for a, b in inner]


def loops_of(target: str, objdump: str, folder: Path, settings: dict[str, str] | None = None) -> list[list[str]]:
    """The innermost loops of MobileNetV2's kernels that multiply."""
    if shutil.which(objdump) is None:
        pytest.skip(f"there is no {objdump}")
    plan = make_plan(load("examples/mobilenet_v2.mn", settings or {}), load_target(target))
    (folder / "kernels.o").write_bytes(compile_kernels(plan).object)
    return [loop for loop in innermost_loops(folder / "kernels.o", objdump) if any(map(FUSED.match, loop))]


@pytest.mark.parametrize(("target", "least"), [("arm64-cortex-a76", 0.8), ("arm64-cortex-a53", 0.7)])
def test_loops_of_arm64(target: str, least: float, tmp_path: Path) -> None:
    """Products take their inputs by lane; no vector of any loop passes through the stack."""
    loops = loops_of(target, "aarch64-linux-gnu-objdump", tmp_path)
    products = [loop for loop in loops if any(map(BY_LANE.match, loop))]
    assert len(products) > 20
    for loop in loops:
        stack = [line for line in loop if VECTOR_ON_STACK.search(line)]
        assert not stack, "\n".join(loop)
    counts = [(sum(map(bool, map(FUSED.match, loop))), len(loop)) for loop in products]
    shares = [fused / length for fused, length in counts if fused >= WHOLE]
    assert len(shares) > 15
    assert sum(shares) / len(shares) >= least
    if target == "arm64-cortex-a76":  # In order, LLVM unrolls what is left at the ends of rows as well.
        assert min(shares) >= 0.75
