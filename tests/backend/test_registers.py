"""The code LLVM makes: sums stay in registers, nothing of TVM's runtime is called."""

from __future__ import annotations

import re
import subprocess

import pytest

from mncc.backend import compile_kernels
from mncc.elaborate import load
from mncc.kernels.target import load_target
from mncc.plan import make_plan

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
JUMP = re.compile(r"^([0-9a-f]+) <")


def innermost_loops(listing: str) -> list[list[str]]:
    """The bodies of loops that hold no other loop: from a backward jump's target to the jump."""
    code = [m.groups() for line in listing.splitlines() if (m := INSTRUCTION.match(line))]
    at = {address: i for i, (address, _, _) in enumerate(code)}
    loops = []
    for i, (_, name, rest) in enumerate(code):
        target = JUMP.match(rest)
        if name.startswith("j") and target and target[1] in at and at[target[1]] < i:
            loops.append((at[target[1]], i))
    inner = [(a, b) for a, b in loops if not any(a <= c and d <= b and (c, d) != (a, b) for c, d in loops)]
    return [[f"{name} {rest}" for _, name, rest in code[a : b + 1]] for a, b in inner]


@pytest.fixture(scope="module", params=["x86-64-v3", "x86-64-v4"])
def listing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """MobileNetV2's kernels disassembled."""
    plan = make_plan(load("examples/mobilenet_v2.mn", {"resolution": "96"}), load_target(request.param))
    path = tmp_path_factory.mktemp("kernels") / "kernels.o"
    path.write_bytes(compile_kernels(plan).object)
    dump = ["objdump", "-d", "--no-show-raw-insn", path]
    undefined = subprocess.run(["nm", "-u", path], check=True, capture_output=True, text=True).stdout.split()
    assert set(undefined) <= {"U", "memset", "memcpy", "memmove"}, undefined
    return subprocess.run(dump, check=True, capture_output=True, text=True).stdout


def test_no_stack_traffic_in_the_innermost_loops(listing: str) -> None:
    products = [loop for loop in innermost_loops(listing) if sum("vfmadd" in line for line in loop) >= 4]
    assert len(products) > 20
    for loop in products:
        stack = [line for line in loop if re.search(r"\(%rsp[,)]", line) and re.search(r"[xyz]mm", line)]
        assert not stack, "\n".join(loop)


def test_multiplications_dominate_the_products(listing: str) -> None:
    shares = []
    for loop in innermost_loops(listing):
        fused = sum("vfmadd" in line for line in loop)
        if fused >= 20:
            shares.append(fused / len(loop))
    assert shares
    assert min(shares) > 0.4


def test_products_prefetch(listing: str) -> None:
    loops = [loop for loop in innermost_loops(listing) if any("prefetcht1" in line for line in loop)]
    assert any(sum("vfmadd" in line for line in loop) >= 10 for loop in loops)
    for loop in loops:
        assert any("vfmadd" in line for line in loop)
        assert not any(re.match(r"i?(mul|div)", line) for line in loop), "\n".join(loop)
