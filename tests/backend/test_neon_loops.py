"""The loops that LLVM makes for arm64 and armv7: sums stay in registers, and multiplications are most of what runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mncc.backend import compile_kernels
from mncc.elaborate import load
from mncc.kernels.precision import FULL, Precision
from mncc.kernels.target import load_target
from mncc.plan import make_plan

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
PLACE = re.compile(r"\b([0-9a-f]+) <")
FUSED = re.compile(r"(fmla|vfma\.f32)\s")
SINGLE = re.compile(r"(fn?m(add|sub)|fml[as]|vfma\.f32)\s+[sh]\d")
BY_LANE = re.compile(r"fmla\s+v\d+\.(4s|8h), v\d+\.\1, v\d+\.[sh]\[")
VECTOR = re.compile(r"v(ld|st)|(ld|st)[pu]?r?\s+q")
TO_STACK = re.compile(r"(?:add|sub|mov)\s+(\w+), sp\b")
WRITES = re.compile(r"(?!v|st|cmp|b)\w+\s+(\w+),")
OBJDUMP = "aarch64-linux-gnu-objdump"
HALF, STORED = Precision("float16", "float16"), Precision("float16")
NETWORKS: dict[str, tuple[str, dict[str, str]]] = {
    "V1": ("mobilenet_v1", {}),
    "V2": ("mobilenet_v2", {}),
    "V2 0.35-96": ("mobilenet_v2", {"width": "0.35", "resolution": "96"}),
}
WHOLE = 80
"""Multiplications of a step of whole register tiles; those at the ends of rows are smaller."""


def instructions(code: Path, objdump: str) -> list[tuple[str, str, str]]:
    """Address, name and operands of every instruction of an object file."""
    dump = [objdump, "-d", "--no-show-raw-insn", str(code)]
    listing = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    return [(m[1], m[2], m[3]) for line in listing.splitlines() if (m := INSTRUCTION.match(line))]


def innermost_loops(lines: list[tuple[str, str, str]]) -> list[list[str]]:
    """The bodies of loops that hold no other loop: from a backward jump's target to the jump. LLVM may write the end of
    an inner loop behind that of the outer one, which holds only where the inner one begins."""
    at = {address: i for i, (address, _, _) in enumerate(lines)}
    loops = []
    for i, (_, name, rest) in enumerate(lines):
        target = PLACE.search(rest)
        if name.startswith(("b", "cb", "tb")) and name != "bl" and target and at.get(target[1], i) < i:
            loops.append((at[target[1]], i))
    inner = [(a, b) for a, b in loops if not any(a < c <= b or (a == c and d < b) for c, d in loops)]
    return [[f"{name} {rest}" for _, name, rest in lines[a : b + 1]] for a, b in inner]


def through_stack(loop: list[str]) -> list[str]:
    """What loads or stores vectors on the stack. 32-bit Arm puts such an address into another register first."""
    places, found = {"sp"}, []
    for line in loop:
        if VECTOR.match(line) and any(re.search(rf"(\[|m[id]a?\s+){place}\b", line) for place in places):
            found.append(line)
        elif at := TO_STACK.match(line):
            places.add(at[1])
        elif written := WRITES.match(line):
            places -= {written[1]}
    return found


def spilled(loop: list[str]) -> list[str]:
    """What passes through the stack, but for constants of exponentials, which are rounded downwards in between."""
    exponential = any(re.match(r"frintm|bl .*<floorf>", line) for line in loop)
    return [line for line in through_stack(loop) if not (exponential and re.match("v?ld", line))]


def loops_of(
    target: str, objdump: str, folder: Path, precision: Precision = FULL, network: str = "V2"
) -> list[list[str]]:
    """The innermost loops of the kernels of one of NETWORKS that multiply. None multiplies and adds a number alone."""
    if shutil.which(objdump) is None:
        pytest.skip(f"there is no {objdump}")
    facts = load_target(target)
    if "apple" in facts.triple:
        facts = replace(facts, triple="aarch64-linux-gnu")  # the same loops, in a file that objdump reads
    example, settings = NETWORKS[network]
    plan = make_plan(load(f"examples/{example}.mn", settings), facts, precision)
    (folder / "kernels.o").write_bytes(compile_kernels(plan).object)
    lines = instructions(folder / "kernels.o", objdump)
    assert not [line for line in lines if SINGLE.match(f"{line[1]} {line[2]}")]
    return [loop for loop in innermost_loops(lines) if any(map(FUSED.match, loop))]


def expect_loops(loops: list[list[str]], least: float) -> list[float]:
    """Products take their inputs by lane; no vector of any loop passes through the stack. Of the instructions of
    whole tiles' loops `least` multiply on the average; answers these shares."""
    products = [loop for loop in loops if any(map(BY_LANE.match, loop))]
    for loop in loops:
        assert not spilled(loop), "\n".join(loop)
    counts = [(sum(map(bool, map(FUSED.match, loop))), len(loop)) for loop in products]
    shares = [fused / length for fused, length in counts if fused >= WHOLE]
    assert len(products) > 12 and len(shares) > 10
    assert sum(shares) / len(shares) >= least
    return shares


QUICK = [
    ("arm64-cortex-a76", FULL, "V2", 0.8),
    ("arm64-cortex-a76", HALF, "V2 0.35-96", 0.7),
    ("arm64-cortex-a53", FULL, "V2 0.35-96", 0.7),
]
COMPUTE_HALF = ("arm64-cortex-a55", "arm64-cortex-a76", "arm64-neoverse-n1", "arm64-apple")
OTHERS = ("arm64", "arm64-cortex-a53", "arm64-cortex-a72")
ALL = [
    *((target, FULL, network, 0.7) for target in (*OTHERS, *COMPUTE_HALF) for network in NETWORKS),
    *((target, HALF, network, 0.7) for target in COMPUTE_HALF for network in NETWORKS),
    ("arm64-cortex-a76", STORED, "V1", 0.75),
    ("arm64-cortex-a76", STORED, "V2", 0.75),
]
"""Target, precision, network, and the least share of multiplications, on the average."""
LEFT_OUT = {("arm64-neoverse-n1", HALF, "V1")}
"""Of ALL; it takes a minute, and no vector of its loops passes through the stack either."""
REST = [case for case in ALL if case[:3] not in {*LEFT_OUT, *(quick[:3] for quick in QUICK)}]


@pytest.mark.parametrize(("target", "precision", "network", "least"), QUICK)
def test_loops_of_arm64(target: str, precision: Precision, network: str, least: float, tmp_path: Path) -> None:
    shares = expect_loops(loops_of(target, OBJDUMP, tmp_path, precision, network), least)
    if precision == FULL and network == "V2":  # Others unroll what is left at the ends of rows as well.
        assert min(shares) >= 0.75


@pytest.mark.full
@pytest.mark.parametrize(("target", "precision", "network", "least"), REST)
def test_loops_of_all_arm64(target: str, precision: Precision, network: str, least: float, tmp_path: Path) -> None:
    expect_loops(loops_of(target, OBJDUMP, tmp_path, precision, network), least)


def test_android_is_any_armv8_processor() -> None:
    """What holds for the loops of arm64 holds for it."""
    android = load_target("arm64-android")
    same = replace(load_target("arm64"), name=android.name, description=android.description, triple=android.triple)
    assert android == same


@pytest.mark.parametrize(
    ("network", "least"),
    [("V2", 50), *(pytest.param(*case, marks=pytest.mark.full) for case in (("V1", 25), ("V2 0.35-96", 50)))],
)
def test_loops_of_armv7(network: str, least: int, tmp_path: Path) -> None:
    """No vector of any loop passes through the stack, although there are but sixteen registers."""
    loops = loops_of("armv7", "arm-linux-gnueabihf-objdump", tmp_path, network=network)
    assert len(loops) > least
    for loop in loops:
        assert not spilled(loop), "\n".join(loop)


def test_an_outer_loop_that_ends_before_the_inner_one_is_no_innermost_one() -> None:
    lines = [("0", "fadd", ""), ("4", "fmla", ""), ("8", "cbz", "x0, 0 <k>"), ("c", "fmla", ""), ("10", "b", "4 <k+4>")]
    assert innermost_loops(lines) == [["fmla ", "cbz x0, 0 <k>", "fmla ", "b 4 <k+4>"]]


def test_addresses_on_the_stack_are_followed() -> None:
    """What is read through another register counts until the register holds something else."""
    loop = ["add r1, sp, #472", "vstmia r1, {d14-d15}", "vld1.64 {d2-d3}, [r1 :128]", "mov r1, r6", "vldmia r1, {d2}"]
    assert through_stack(loop) == loop[1:3]
    assert through_stack(["ldp q1, q2, [sp, #32]", "str q1, [x0]", "ldr x0, [sp]"]) == ["ldp q1, q2, [sp, #32]"]
