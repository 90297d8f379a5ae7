"""The C interface, driven from C and C++ programs, plain and under the sanitizers."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.library.spec import Golden
from mncc.library.write import LibraryFiles, write_library
from tests.library.conftest import PROGRAMS, WARNINGS, Toys, says
from tests.library.toy import classifier_spec, toy_spec

SANITIZERS = [(), ("-fsanitize=address,undefined", "-fno-sanitize-recover"), ("-fsanitize=thread",)]
Compile = Callable[..., Path]


def archive(*files: LibraryFiles) -> list[str]:
    """Compiler arguments for the headers and archives of libraries."""
    return [f"-I{f.directory}" for f in files] + [str(f.static) for f in files] + ["-lm"]


@pytest.mark.parametrize("flags", SANITIZERS, ids=["plain", "address", "thread"])
@pytest.mark.parametrize("program", ["statuses.c", "threads.cpp"])
def test_program(program: str, flags: tuple[str, ...], toys: Callable[..., Toys], compiled: Compile) -> None:
    """Statuses and messages; threads, pools, re-entrancy. Two archives in one program."""
    assert says(compiled(program, *flags, *archive(*toys(*flags)))) == "ok\n"


def test_program_with_shared_library(toys: Callable[..., Toys], compiled: Compile) -> None:
    toy, _ = toys()
    program = compiled("statuses.c", f"-I{toy.directory}", f"-L{toy.directory}", "-ltoy", f"-Wl,-rpath,{toy.directory}")
    assert says(program) == "ok\n"


def test_run_allocates_nothing_and_keeps_its_rounding(toys: Callable[..., Toys], compiled: Compile) -> None:
    assert says(compiled("quiet.c", "-std=c11", *archive(toys()[0]))) == "ok\n"


@pytest.mark.parametrize(
    ("triple", "compiler", "emulator", "cpu"),
    [
        ("aarch64-linux-gnu", "aarch64-linux-gnu-gcc", "qemu-aarch64", "cortex-a53"),
        ("armv7a-linux-gnueabihf", "arm-linux-gnueabihf-gcc", "qemu-arm", "cortex-a7"),
    ],
    ids=["arm64", "armv7"],
)
def test_the_rounding_of_arm(triple: str, compiler: str, emulator: str, cpu: str, tmp_path: Path) -> None:
    """Kernels are not all vectors: what rounds single floats is set as well."""
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    files = write_library(toy_spec(triple=triple, compiler=compiler), tmp_path / "toy")
    program = tmp_path / "quiet"
    words = ["-std=c11", "-pthread", str(PROGRAMS / "quiet.c"), *archive(files), "-o", str(program)]
    subprocess.run([compiler, *words], check=True)
    assert says(emulator, "-cpu", cpu, "-L", f"/usr/{compiler.removesuffix('-gcc')}", program) == "ok\n"


def test_fully_static_program(toys: Callable[..., Toys], compiled: Compile) -> None:
    assert says(compiled("threads.cpp", "-static", *archive(*toys()))) == "ok\n"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_runtime_compiles_without_warnings(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    write_library(toy_spec(features=("avx2",)), tmp_path / "toy", cc=compiler, probe=True, cflags=WARNINGS)
    write_library(classifier_spec(), tmp_path / "classifier", cc=compiler, cflags=WARNINGS)


@pytest.mark.parametrize("standard", ["c99", "c11", "c++11", "c++14", "c++17", "c++20"])
def test_headers_compile(standard: str, toys: Callable[..., Toys], tmp_path: Path) -> None:
    language = "c++" if "+" in standard else "c"
    includes = [f"-I{files.directory}" for files in toys()]
    command = ["gcc", "-x", language, f"-std={standard}", *WARNINGS, "-Wconversion", *includes]
    done = subprocess.run(
        [*command, "-c", str(PROGRAMS / "header.c"), "-o", str(tmp_path / "header.o")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_headers_of_two_versions_stop(toys: Callable[..., Toys], tmp_path: Path) -> None:
    toy, other = toys()
    newer = toy.header.read_text().replace("MNCC_TYPES_VERSION 1", "MNCC_TYPES_VERSION 2")
    (tmp_path / "toy.h").write_text(newer.replace("MNCC_TYPES_VERSION != 1", "MNCC_TYPES_VERSION != 2"))
    done = subprocess.run(
        ["gcc", "-fsyntax-only", f"-I{tmp_path}", f"-I{other.directory}", str(PROGRAMS / "header.c")],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "two headers written by different versions of mncc" in done.stderr


def test_failing_kernel_and_wrong_numbers(tmp_path: Path, compiled: Compile) -> None:
    failing = write_library(toy_spec(fail=True), tmp_path / "failing")
    text = says(compiled("refused.c", *archive(failing)))
    assert text == 'run 5 kernel "scale" answered -7\nselftest 5 kernel "scale" answered -7\n'

    spec = toy_spec()
    hidden, scores = spec.goldens
    wrong = Golden(scores.indices, (*scores.values[:-1], scores.values[-1] + 1), scores.tolerance)
    files = write_library(dataclasses.replace(spec, goldens=(hidden, wrong)), tmp_path / "wrong")
    run, selftest = says(compiled("refused.c", *archive(files))).splitlines()
    assert run == "run 0 "
    assert selftest.startswith(f'selftest 6 output "scores", element {scores.indices[-1]}: got ')


qemu = pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (qemu-user) is not installed")


@qemu
@pytest.mark.parametrize(
    ("cpu", "features", "missing"),
    [
        ("Nehalem", ("sse4.2", "avx2", "fma"), "avx2"),
        ("Nehalem", ("sse4.2",), None),
        ("qemu64", ("sse2",), None),  # the runtime itself needs no more than the first x86-64 processors had
        ("max", ("avx2", "fma", "bmi2", "lzcnt", "movbe", "f16c"), None),
        ("max", ("avx2", "avx512f"), "avx512f"),
        ("max,-xsave", ("avx2",), "avx2"),  # the operating system does not save the registers
        ("Haswell,-fma", ("avx2", "fma"), "fma"),
    ],
)
def test_old_processor(
    cpu: str, features: tuple[str, ...], missing: str | None, tmp_path: Path, compiled: Compile
) -> None:
    files = write_library(toy_spec(features=features), tmp_path / "toy")
    text = says("qemu-x86_64", "-cpu", cpu, compiled("refused.c", *archive(files)))
    if missing is None:
        assert text == "run 0 \nselftest 0 \n"
    else:
        why = f"the kernels need {missing}, which this processor or operating system lacks"
        assert text == f"run 4 {why}\nselftest 4 {why}\n"


ARM = "aarch64-linux-gnu"


@pytest.mark.skipif(
    shutil.which(f"{ARM}-gcc") is None or shutil.which("qemu-aarch64") is None,
    reason="gcc-aarch64-linux-gnu and qemu-user are not installed",
)
def test_another_architecture(tmp_path: Path) -> None:
    """The runtime on arm64: compiled across, run in qemu; features from the auxiliary vector."""
    files = write_library(toy_spec(features=("neon", "dotprod"), triple=ARM), tmp_path / "toy")
    program = tmp_path / "program"
    for source in ("statuses.c", "refused.c"):
        command = [f"{ARM}-gcc", "-std=c99", *WARNINGS, "-static", "-pthread", str(PROGRAMS / source)]
        subprocess.run([*command, *archive(files), "-o", str(program)], check=True)
        if source == "statuses.c":
            assert says("qemu-aarch64", "-cpu", "cortex-a76", program) == "ok\n"
    why = "the kernels need dotprod, which this processor or operating system lacks"
    assert says("qemu-aarch64", "-cpu", "cortex-a53", program) == f"run 4 {why}\nselftest 4 {why}\n"
    versions = re.findall(r"GLIBC_([0-9.]+)", says(f"{ARM}-objdump", "-T", files.shared))
    assert set(versions) == {"2.17"}


@pytest.mark.skipif(
    shutil.which(f"{ARM}-gcc") is None or shutil.which("qemu-aarch64") is None,
    reason="gcc-aarch64-linux-gnu and qemu-user are not installed",
)
def test_android_with_a_stand_in_for_its_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of the clang of an NDK, of which Debian's gcc does the work; not that Android loads it."""
    triple = "aarch64-linux-android21"
    clang = tmp_path / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin" / f"{triple}-clang"
    clang.parent.mkdir(parents=True)
    clang.write_text(f'#!/bin/sh\n[ "$1" = -dumpmachine ] && echo {triple} && exit\nexec {ARM}-gcc "$@"\n')
    clang.chmod(0o755)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    files = write_library(toy_spec(features=("neon",), triple=triple, compiler=f"{ARM}-gcc"), tmp_path / "toy")
    dynamic = says("readelf", "-dW", files.shared)
    assert "(HASH)" in dynamic and "(GNU_HASH)" in dynamic
    segments = [line.split() for line in says("readelf", "-lW", files.shared).splitlines() if " LOAD " in line]
    assert {words[-1] for words in segments} == {"0x4000"}
    assert json.loads(files.manifest.read_text())["glibc_floor"] is None
    command = [f"{ARM}-gcc", "-std=c99", *WARNINGS, "-static", "-pthread", str(PROGRAMS / "statuses.c")]
    subprocess.run([*command, *archive(files), "-o", str(tmp_path / "program")], check=True)
    assert says("qemu-aarch64", "-cpu", "cortex-a53", tmp_path / "program") == "ok\n"
