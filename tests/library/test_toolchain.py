"""Which compiler links for which target, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mncc.language.diagnostic import OutsideError
from mncc.library import toolchain
from mncc.library.toolchain import find_toolchain

ARM64, ARMV7, ANDROID = "aarch64-linux-gnu", "armv7a-linux-gnueabihf", "aarch64-linux-android21"
APPLE = "aarch64-apple-macosx11.0.0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH of an x86-64 Linux with no compiler; zig is not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("CC", "ANDROID_NDK_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(toolchain.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(toolchain.platform, "system", lambda: "Linux")
    monkeypatch.setattr(toolchain, "has_zig_package", lambda: False)
    return folder


def stand_in(path: Path, machine: str) -> Path:
    """A compiler that says what it compiles for, and that it is called by its file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = f"*-dumpmachine) echo {machine};; *) echo {path.name} 1.0; echo more;;"
    path.write_text(f'#!/bin/sh\ncase "$*" in {answers} esac\n')
    path.chmod(0o755)
    return path


def test_own_compiler_then_the_environments_then_the_command_lines(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(machine / "gcc", "x86_64-linux-gnu")
    stand_in(machine / "clang", "x86_64-pc-linux-gnu")
    stand_in(machine / "aarch64-linux-gnu-gcc", ARM64)
    assert find_toolchain("x86_64-linux-gnu").cc == ("gcc",)
    assert find_toolchain("x86_64-linux-gnu").version == "gcc 1.0"
    monkeypatch.setenv("CC", "clang -g")
    assert find_toolchain("x86_64-linux-gnu").cc == ("clang", "-g")
    assert find_toolchain("x86_64-linux-gnu", "gcc -O1").cc == ("gcc", "-O1")
    assert find_toolchain(ARM64).cc == ("aarch64-linux-gnu-gcc",), "CC is for this machine's processor"


def test_a_compiler_for_another_system_is_refused(machine: Path) -> None:
    """Android's C library is not Linux's, though the processor is the same."""
    android = "aarch64-linux-android21"
    gcc, clang = (stand_in(machine / name, triple) for name, triple in (("gcc-arm", ARM64), ("ndk", android)))
    assert find_toolchain(android, str(clang)).machine == android
    for compiler, triple in ((gcc, android), (clang, ARM64), (stand_in(machine / "true", ""), ARM64)):
        with pytest.raises(OutsideError, match=f"the target is {triple}") as refused:
            find_toolchain(triple, str(compiler))
        assert refused.value.help and refused.value.help.startswith("leave it out")
    with pytest.raises(OutsideError, match="the target is aarch64-linux-android21"):
        find_toolchain(android, f"{stand_in(machine / 'zig', '')} cc")


@pytest.mark.parametrize(("triple", "prefix"), [(ARM64, ARM64), (ARMV7, "arm-linux-gnueabihf")])
def test_cross_compiler_goes_before_zig(machine: Path, triple: str, prefix: str) -> None:
    stand_in(machine / "zig", "")
    assert find_toolchain(triple).zig == ("zig",)
    stand_in(machine / f"{prefix}-gcc", prefix)
    found = find_toolchain(triple)
    assert found.cc == (f"{prefix}-gcc",) and not found.zig


@pytest.mark.parametrize(
    ("triple", "target"),
    [
        (ARM64, ("-target", "aarch64-linux-gnu.2.17", "-mcpu=generic")),
        (ARMV7, ("-target", "arm-linux-gnueabihf.2.17", "-mcpu=generic+v7a-neon")),
        ("x86_64-linux-gnu", ("-target", "x86_64-linux-gnu.2.17", "-mcpu=x86_64")),
        (APPLE, ("-target", "aarch64-macos.11.0")),
    ],
)
def test_zig_is_told_the_oldest_system_and_processor(
    machine: Path, triple: str, target: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(machine / "zig", "")
    assert find_toolchain(triple).cc == ("zig", "cc", *target)
    (machine / "zig").unlink()
    python = stand_in(machine / "python", "")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(toolchain, "has_zig_package", lambda: True)
    found = find_toolchain(triple)
    assert found.cc == (str(python), "-m", "ziglang", "cc", *target) and found.ar[:-2] == (str(python), "-m", "ziglang")


@pytest.mark.parametrize(("triple", "machine_"), [(ARM64, "aarch64-linux-musl"), (ARMV7, "arm-linux-musleabihf")])
def test_programs_without_shared_libraries_get_musl_from_zig(machine: Path, triple: str, machine_: str) -> None:
    stand_in(machine / "zig", "")
    static = find_toolchain(triple).static
    assert static.machine == machine_ and static.cc[:4] == ("zig", "cc", "-target", machine_) and static.zig
    assert find_toolchain(APPLE).static == find_toolchain(APPLE)
    stand_in(machine / "aarch64-linux-gnu-gcc", ARM64)
    assert find_toolchain(ARM64).static.cc == ("aarch64-linux-gnu-gcc",)


def test_zig_with_a_target_of_ones_own(machine: Path) -> None:
    stand_in(machine / "zig", "")
    found = find_toolchain(ARM64, "zig cc -target aarch64-linux-musl")
    assert found.cc == ("zig", "cc", "-target", "aarch64-linux-musl") and found.machine == "aarch64-linux-musl"


def test_the_ndk_of_the_environment(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(machine / "zig", "")
    stand_in(machine / "aarch64-linux-gnu-gcc", ARM64)
    with pytest.raises(OutsideError, match="no C compiler for aarch64-linux-android21") as caught:
        find_toolchain(ANDROID)
    assert caught.value.help is not None
    assert "ANDROID_NDK_HOME" in caught.value.help and "--emit-objects" in caught.value.help
    clang = stand_in(machine.parent / f"ndk/toolchains/llvm/prebuilt/linux-x86_64/bin/{ANDROID}-clang", ANDROID)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(machine.parent / "ndk"))
    assert find_toolchain(ANDROID).cc == (str(clang),)


@pytest.mark.parametrize(
    ("triple", "package"),
    [
        ("x86_64-linux-gnu", "apt-get install gcc)"),
        (ARM64, "apt-get install gcc-aarch64-linux-gnu)"),
        (ARMV7, "apt-get install gcc-arm-linux-gnueabihf)"),
        (APPLE, "install zig (pip install ziglang)"),
    ],
)
def test_without_any_both_ways_are_named(machine: Path, triple: str, package: str) -> None:
    with pytest.raises(OutsideError, match=f"no C compiler for {triple}: looked for .*zig cc") as caught:
        find_toolchain(triple)
    assert caught.value.help is not None
    for word in (package, "pip install ziglang", "--cc", "--emit-objects"):
        assert word in caught.value.help


@pytest.mark.parametrize("compiler", ["x86_64-linux-gnu", "arm-linux-gnueabihf", "arm64-apple-darwin23"])
def test_a_compiler_for_something_else_is_refused(machine: Path, compiler: str) -> None:
    stand_in(machine / "mycc", compiler)
    with pytest.raises(OutsideError, match=f"mycc compiles for {compiler}, the target is {ARM64}"):
        find_toolchain(ARM64, "mycc")
