"""The hottest loop of a kernel, found in machine code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mncc.library.loops import Loop, hottest, hottest_product
from mncc.library.sass import find_nvdisasm, sass_codes, sass_of
from tests.networks.gpu import nvcc_or_skip

DOTS = Path(__file__).parent / "cuda" / "dots.sass"
LOOP = Loop(instructions=12, multiplies=4, shared=1, shared_wide=1, loaded=1, loaded_wide=1)


def test_the_loop_counts_and_not_what_is_around_it() -> None:
    codes = sass_codes(DOTS.read_text())
    assert list(codes) == ["dots"] and hottest(codes["dots"]) == LOOP and hottest_product(codes["dots"]) is None


def test_a_kernel_without_a_loop_has_it_unrolled() -> None:
    straight = re.sub(r"(?m)^.*@!P0 BRA `\(\.L_x_1\).*\n", "", DOTS.read_text())
    # From the first load, 0050, to the last multiply-add, 02e0; an HFMA2 between them only writes a constant.
    assert hottest(sass_codes(straight)["dots"]) == Loop(0x2F - 0x05, 4, 1, 1, 9, 1)


def _loop(number: int, *names: str) -> str:
    """The text of a loop of some instructions."""
    body = "".join(f"/*0010*/ {name} R1, R2, R3, R1 ;\n" for name in names)
    return f".L_x_{number}:\n{body}/*0020*/ @P0 BRA `(.L_x_{number}) ;\n"


def test_the_loop_that_multiplies_most_is_that_of_the_tensor_cores() -> None:
    matrices = _loop(1, "LDSM.16.M88.4", "LDSM.16.MT88.4", "HMMA.16816.F32", "HMMA.16816.F32")
    pairs = _loop(2, *["HFMA2"] * 60, "LDS.U.128")
    found = hottest(sass_codes(".text.both:\n" + matrices + pairs)["both"])
    assert found == Loop(instructions=5, multiplies=2, shared=2, shared_wide=2)
    # Older tensor cores make half as many by an instruction: 64 a lane, where the 60 others make 120.
    older = matrices.replace("HMMA.16816.F32 R1, R2, R3, R1 ;\n", "HMMA.1688.F32 R1, R2, R3, R1 ;\n")
    assert hottest(sass_codes(".text.both:\n" + older + pairs)["both"]).multiplies == 60


def test_a_product_is_a_loop_or_a_part_of_one() -> None:
    step = ["LDSM.16.M88.4", "LDSM.16.MT88.4", *["HMMA.16816.F32"] * 4]
    product = _loop(1, *step)
    stages = _loop(2, "LDG.E.128", *step, *step, "FADD", "STS.64", "BAR.SYNC", *["HFMA2"] * 900)

    def found(text: str) -> Loop | None:
        return hottest_product(sass_codes(".text.k:\n" + text)["k"])

    # With what its loop needs to go round; without what is done with its sums, and what lies behind the barrier.
    assert found(product) == Loop(instructions=7, multiplies=4, shared=2, shared_wide=2)
    assert found(stages) == Loop(instructions=12, multiplies=8, shared=4, shared_wide=4)
    assert found(product + stages) == found(stages)
    # One that is in no innermost loop, beside one that is: the copies are loops too.
    around = stages.replace(".L_x_2:\n", ".L_x_2:\n" + _loop(3, "LDG.E.128", "STS.128"))
    assert found(around) == found(stages)
    assert found(_loop(2, "HFMA2")) is None


def test_todays_compiler_and_disassembler_write_what_is_read() -> None:
    nvcc = nvcc_or_skip()
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    for architecture in ("sm_75", "sm_90"):
        sass = sass_of(DOTS.with_suffix(".cu").read_text(), architecture, nvcc, nvdisasm)
        loop = hottest(sass_codes(sass)["dots"])
        assert (loop.multiplies, loop.shared_wide, loop.loaded_wide) == (4, 1, 1), (architecture, loop)
        assert 0.25 < loop.share < 0.5, (architecture, loop)
