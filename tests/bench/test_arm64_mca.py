"""llvm-mca on loops as qemu prints them."""

import pytest

from bench.arm64 import mca
from mncc.language.diagnostic import OutsideError


@pytest.fixture
def tool() -> str:
    try:
        return mca.find_tool()
    except OutsideError as error:
        pytest.skip(error.message)


def test_sums_that_wait_for_nothing_fill_the_pipes(tool: str) -> None:
    assert mca.peak_of("neoverse-n1", tool) == pytest.approx(2.0, rel=0.02)
    assert mca.peak_of("cortex-a72", tool) == pytest.approx(1.0, rel=0.02)


def test_a_chain_of_sums_takes_its_latency(tool: str) -> None:
    code = ["fmla v0.4s, v1.4s, v2.s[0]", "subs x0, x0, #1", "b.ne #0x40deac"]
    assert mca.cycles_of(code, "neoverse-n1", tool) >= 2.0


@pytest.mark.parametrize("jump", ["b.ne #0x40deac", "cbnz w4, #0x40deac", "tbz w4, #3, #0x40deac", "b #0x40deac"])
def test_jumps_go_to_a_name(tool: str, jump: str) -> None:
    assert mca.cycles_of(["add x0, x0, #0x10", jump], "neoverse-n1", tool) > 0


def test_numbers_that_are_no_goals_stay(tool: str) -> None:
    assert mca.cycles_of(["ldr q0, [x0], #0x20", "cmp x1, #0x13"], "cortex-a55", tool) > 0


def test_a_missing_tool_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="llvm-mca-22") as error:
        mca.find_tool()
    assert "apt-get install llvm-22" in str(error.value.help)
