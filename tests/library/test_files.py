"""What is in the files: symbols, versions, sections, packages, equal bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.library.glibc import glibc_floor
from mncc.library.write import LibraryFiles, write_library, write_objects
from tests.library.conftest import PROGRAMS, Toys, says
from tests.library.toy import TRIPLE, toy_spec

PUBLIC = {"toy_model", "toy_run", "toy_pool_create", "toy_pool_destroy"}


@pytest.fixture
def toy(toys: Callable[..., Toys]) -> LibraryFiles:
    return toys()[0]


def test_exports_only_its_own_names(toy: LibraryFiles) -> None:
    exported = {line.split()[-1] for line in says("nm", "-D", "--defined-only", toy.shared).splitlines()}
    assert exported == PUBLIC
    static = {line.split()[-1] for line in says("nm", "-g", "--defined-only", toy.static).splitlines()[1:] if line}
    assert static - {"libtoy.o:"} == PUBLIC
    assert toy.probe is not None
    probe = {line.split()[-1] for line in says("nm", "-D", "--defined-only", toy.probe).splitlines()}
    assert probe == PUBLIC | {f"toy_probe{what}" for what in ("", "_at", "_weights", "_select", "_target")}


def test_needs_nothing_but_the_c_library(toy: LibraryFiles) -> None:
    dynamic = says("readelf", "-dW", toy.shared)
    assert set(re.findall(r"Shared library: \[(.*?)\]", dynamic)) <= {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    assert re.findall(r"Library soname: \[(.*?)\]", dynamic) == ["libtoy.so"]
    assert "NOW" in dynamic and "TEXTREL" not in dynamic


def test_old_glibc_is_enough(toy: LibraryFiles) -> None:
    """expf, pthread_create and pthread_join have newer versions than the floor on today's systems."""
    symbols = says("objdump", "-T", toy.shared)
    assert " expf" in symbols and " pthread_create" in symbols
    floor = glibc_floor(TRIPLE)
    assert floor is not None and json.loads(toy.manifest.read_text())["glibc_floor"] == floor.floor
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", symbols)}
    assert max(versions) <= tuple(map(int, floor.floor.split(".")))
    assert set(re.findall(r"\((\w+?)_[0-9.]+\)", symbols)) == {"GLIBC"}


def test_segments(toy: LibraryFiles) -> None:
    headers = says("readelf", "-lW", toy.shared)
    stack = re.search(r"GNU_STACK.*", headers)
    assert stack is not None and " RW " in stack[0]
    assert "GNU_RELRO" in headers
    assert not re.search(r"LOAD.* RWE ", headers)


def test_weights_are_aligned_and_read_only(toy: LibraryFiles) -> None:
    sections = says("readelf", "-SW", toy.static)
    weights = re.search(r"\.rodata\.mncc_weights +PROGBITS.*", sections)
    assert weights is not None and weights[0].split()[-1] == "64" and " A " in weights[0]


def test_same_bytes_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_library(toy_spec(), tmp_path / "one", probe=True)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    two = write_library(toy_spec(), Path("some where"), probe=True)
    names = sorted(path.name for path in one.directory.iterdir())
    assert names == sorted(path.name for path in two.directory.iterdir())
    for name in names:
        first = (one.directory / name).read_bytes()
        assert first == (two.directory / name).read_bytes(), name
        assert str(tmp_path).encode() not in first


def test_manifest(toy: LibraryFiles) -> None:
    manifest = json.loads(toy.manifest.read_text())
    assert manifest["format"] == "mncc-library"
    assert sorted(manifest["files"]) == sorted(path.name for path in toy.directory.iterdir())
    assert [k["name"] for k in manifest["kernels"]] == ["scale", "dense", "mix"]
    assert manifest["kernels"][1]["rows"] == [2] and manifest["versions"] == {"mncc": "0.0"}
    assert manifest["workspace_bytes"] == 192 and manifest["inputs"][0]["mean"] == [0.485, 0.456, 0.406]


def test_header_says_what_it_is(toy: LibraryFiles) -> None:
    text = toy.header.read_text()
    assert "written by mncc 0.0." in text and f'TOY_MODEL_HASH "sha256:{"0" * 64}"' in text
    assert "float input_image[2][5][4][3]  RGB, dense, row major" in text
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("name", ["name", "tables", "structures", "library", "weights", "kernels", "probe"])
def test_names_that_files_of_the_runtime_have(name: str, tmp_path: Path) -> None:
    files = write_library(toy_spec(name), tmp_path / "out")
    assert f"{name}_run" in says("nm", "-D", "--defined-only", files.shared)
    write_objects(toy_spec(name), tmp_path / "objects")
    assert f"{name.upper()}_ABI" in (tmp_path / "objects" / f"{name}.h").read_text()


def test_pkg_config(toy: LibraryFiles, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    shutil.copytree(toy.directory, folder)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "toy"], env={"PKG_CONFIG_PATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    program = tmp_path / "statuses"
    command = f"gcc -std=c99 '{PROGRAMS / 'statuses.c'}' {flags} -Wl,-rpath,'{folder}' -o '{program}'"
    subprocess.run(["sh", "-c", command], check=True)
    assert says(program) == "ok\n"


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_finds_both(toys: Callable[..., Toys], tmp_path: Path) -> None:
    toy, other = toys()
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(uses_toys C CXX)
find_package(toy REQUIRED)
find_package(toy REQUIRED)
find_package(other REQUIRED)
add_executable(statuses {PROGRAMS}/statuses.c)
target_link_libraries(statuses PRIVATE toy::toy)
add_executable(threads {PROGRAMS}/threads.cpp)
target_link_libraries(threads PRIVATE toy::toy_static other::other_static)
""")
    prefixes = f"{toy.directory};{other.directory}"
    says("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefixes}")
    says("cmake", "--build", tmp_path / "build")
    assert says(tmp_path / "build" / "statuses") == "ok\n"
    assert says(tmp_path / "build" / "threads") == "ok\n"
