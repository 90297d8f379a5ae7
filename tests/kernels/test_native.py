"""`native`: the target that fits a machine best, by what /proc/cpuinfo says; and machines that no target is for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mncc.kernels.native import Machine, best_target, read_cpuinfo, this_machine
from mncc.kernels.refused import refusal
from mncc.kernels.target import cpu_targets, load_target, target_names
from mncc.language.diagnostic import DiagnosticError

ARMV8 = "fp asimd evtstrm crc32 cpuid"
ARMV82 = f"{ARMV8} atomics fphp asimdhp asimdrdm lrcpc asimddp"
AVX2 = "sse4_2 avx avx2 fma bmi1 bmi2 f16c abm movbe"


def arm_cpuinfo(features: str, *parts: int) -> str:
    """What Linux says on arm64, a paragraph a processor."""
    return "\n".join(
        f"processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {part:#05x}\nCPU revision\t: 3\n"
        for n, part in enumerate(parts)
    )


@pytest.mark.parametrize(
    ("features", "parts", "target"),
    [
        (ARMV8, (0xD03,) * 4, "arm64-cortex-a53"),
        (ARMV8, (0xD08,) * 4, "arm64-cortex-a72"),
        (ARMV8, (0xD03, 0xD03, 0xD08, 0xD08), "arm64-cortex-a72"),
        (ARMV82, (0xD0B,) * 4, "arm64-cortex-a76"),
        (ARMV82, (0xD05, 0xD05, 0xD0B), "arm64-cortex-a76"),
        (ARMV82, (0xD05,), "arm64-cortex-a55"),
        (ARMV82, (0xD0C,), "arm64-neoverse-n1"),
        ("fp asimd", (0xD03,), "arm64"),  # a kernel that hides crc32: the tuned target could not be loaded
        (ARMV8, (0xFFF,), "arm64-cortex-a72"),
    ],
)
def test_arm64(features: str, parts: tuple[int, ...], target: str) -> None:
    found = best_target(read_cpuinfo("aarch64", arm_cpuinfo(features, *parts)), cpu_targets())
    assert found is not None and found.name == target


@pytest.mark.parametrize(
    ("machine", "target"),
    [
        (read_cpuinfo("x86_64", f"flags\t\t: {AVX2}\n"), "x86-64-v3"),
        (read_cpuinfo("x86_64", f"flags\t\t: {AVX2} avx512f avx512bw avx512cd avx512dq avx512vl\n"), "x86-64-v4"),
        (read_cpuinfo("x86_64", "flags\t\t: sse2\n"), None),
        (read_cpuinfo("armv7a", "Features\t: half thumb vfp neon vfpv4\n"), "armv7"),
        (read_cpuinfo("armv7a", "Features\t: half thumb vfp\n"), None),
        (read_cpuinfo("riscv64", ""), None),
        (Machine("aarch64", "apple"), "arm64-apple"),
    ],
)
def test_others(machine: Machine, target: str | None) -> None:
    found = best_target(machine, cpu_targets())
    assert (found and found.name) == target


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """This process on another machine; what is remembered of this one is forgotten before and after."""
    this_machine.cache_clear()
    yield monkeypatch
    this_machine.cache_clear()


def test_native_on_a_raspberry_pi(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setattr(platform, "machine", lambda: "aarch64")
    elsewhere.setattr(platform, "system", lambda: "Linux")
    elsewhere.setattr(Path, "read_text", _with_cpuinfo(arm_cpuinfo(ARMV8, *(0xD08,) * 4)))
    assert load_target("native").name == "arm64-cortex-a72"
    assert target_names()[0] == ("native", "the machine mncc runs on: arm64-cortex-a72")


def test_native_where_no_target_fits(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(DiagnosticError, match="this machine's processor, riscv64, lacks"):
        load_target("native")
    assert target_names()[0][1].endswith("none of these")


def _with_cpuinfo(text: str) -> Callable[..., str]:
    read = Path.read_text
    return lambda path, **given: text if str(path) == "/proc/cpuinfo" else read(path, **given)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("aarch64_be-linux-gnu", "big-endian"),
        ("arm64-be", "big-endian"),
        ("armeb-linux-gnueabihf", "big-endian"),
        ("armv7b", "big-endian"),
        ("armv5te", "without NEON"),
        ("armv6", "without NEON"),
        ("arm-linux-gnueabi", "without NEON"),
        ("cortex-m7", "without NEON"),
        ("i686", "32-bit x86"),
        ("s390x", "big-endian"),
        ("arm64-cortex-a73", None),
        ("armv7l", None),
        ("x86-64-v5", None),
    ],
)
def test_machines_that_cannot_be_targets(name: str, why: str | None) -> None:
    found = refusal(name)
    assert (found is None) if why is None else (found is not None and why in found.title)
    with pytest.raises(DiagnosticError, match=f"there is no target `{name}`"):
        load_target(name)


def test_no_target_is_refused() -> None:
    assert not [target.name for target in cpu_targets() if refusal(target.name)]
