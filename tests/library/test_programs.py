"""The C interface, driven from C and C++ programs, plain and under the sanitizers."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.library.spec import Golden
from mncc.library.write import LibraryFiles, write_library
from tests.library.conftest import PROGRAMS, WARNINGS, Toys, says
from tests.library.toy import toy_spec

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
