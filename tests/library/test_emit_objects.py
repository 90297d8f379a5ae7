"""Objects and sources that another toolchain finishes: with CMake, the same library comes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mncc.language.diagnostic import DiagnosticError
from mncc.library.write import write_library, write_objects
from tests.library.conftest import PROGRAMS, says
from tests.library.toy import TRIPLE, toy_spec

ARM = "aarch64-linux-gnu"
FUNCTIONS = {"toy_model", "toy_run", "toy_pool_create", "toy_pool_destroy"}
cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
cross = pytest.mark.skipif(
    shutil.which(f"{ARM}-gcc") is None or shutil.which("qemu-aarch64") is None,
    reason="gcc-aarch64-linux-gnu and qemu-user are not installed",
)


def finish(folder: Path, prefix: Path, *options: str) -> None:
    """What the first lines of CMakeLists.txt say."""
    build = folder.parent / "cmake"
    says("cmake", "-S", folder, "-B", build, *options)
    says("cmake", "--build", build)
    says("cmake", "--install", build, "--prefix", prefix)


@cmake
def test_finished_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """A list of targets makes commas natural in its name."""
    write_objects(toy_spec(), tmp_path / "for a53,a76")
    finish(tmp_path / "for a53,a76", tmp_path / "out")
    assert (tmp_path / "out" / "libtoy.so").is_file()


@cmake
def test_finished_here(tmp_path: Path) -> None:
    write_objects(toy_spec(), tmp_path / "objects")
    finish(tmp_path / "objects", tmp_path / "out")
    ours = write_library(toy_spec(), tmp_path / "ours")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {path.name for path in ours.directory.iterdir()}
    exported = says("nm", "-D", "--defined-only", tmp_path / "out" / "libtoy.so").splitlines()
    assert {line.split()[-1] for line in exported} == FUNCTIONS
    assert "libtoy.so" in says("readelf", "-dW", tmp_path / "out" / "libtoy.so")
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(uses_toy C)
find_package(toy REQUIRED)
add_executable(with_shared {PROGRAMS}/statuses.c)
target_link_libraries(with_shared PRIVATE toy::toy)
add_executable(with_static {PROGRAMS}/statuses.c)
target_link_libraries(with_static PRIVATE toy::toy_static)
""")
    says("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={tmp_path / 'out'}")
    says("cmake", "--build", tmp_path / "b")
    for program in ("with_shared", "with_static"):
        assert says(tmp_path / "b" / program) == "ok\n"


@cmake
@cross
def test_finished_across_inside_of_another_project(tmp_path: Path) -> None:
    write_objects(toy_spec(features=("neon",), triple=ARM), tmp_path / "objects")
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(uses_toy C)
add_subdirectory(objects)
add_executable(program {PROGRAMS}/statuses.c)
target_link_libraries(program PRIVATE toy::toy)
""")
    options = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_C_COMPILER={ARM}-gcc")
    says("cmake", "-S", tmp_path, "-B", tmp_path / "b", *options)
    says("cmake", "--build", tmp_path / "b")
    assert says("qemu-aarch64", "-cpu", "cortex-a53", "-L", f"/usr/{ARM}", tmp_path / "b" / "program") == "ok\n"


def test_no_compiler_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = toy_spec()
    files = write_objects(spec, tmp_path / "objects")
    manifest = json.loads((tmp_path / "objects" / "toy.json").read_text())
    assert manifest["compiler"] is None and manifest["triple"] == TRIPLE
    assert manifest["files"] == ["CMakeLists.txt", "src", "toy.h", "toy.json"]
    assert {"kernels.o", "weights.S", "weights.bin", "library.c"} <= {path.name for path in files}
    write_objects(spec, tmp_path / "objects")
    (tmp_path / "objects" / "mine.txt").touch()
    with pytest.raises(DiagnosticError, match=r"mine\.txt"):
        write_objects(spec, tmp_path / "objects")


def test_same_bytes_in_any_folder(tmp_path: Path) -> None:
    one, two = (write_objects(toy_spec(), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
