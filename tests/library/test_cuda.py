"""A library for GPUs: its files, and its whole interface against the stand-in driver, from C and C++."""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import functools
import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import mncc.library.nvcc as nvcc_module
from mncc.devices.cuda_standin import HERE as STANDIN
from mncc.language.diagnostic import OutsideError
from mncc.library.cuda_spec import CudaArgument
from mncc.library.cuda_write import write_cuda_library
from mncc.library.glibc import glibc_floor
from mncc.library.nvcc import Nvcc, compile_fatbin, find_nvcc, ptx_of
from mncc.library.template import RUNTIME
from mncc.library.toolchain import machine_of
from mncc.library.write import LibraryFiles
from tests.library.conftest import PROGRAMS, WARNINGS, says
from tests.library.cuda.toy import CUDA_13, FATBIN, SOURCE, toy_cuda_spec, toy_standin
from tests.library.toy import TRIPLE

Compile = Callable[..., Path]
PUBLIC = ("model", "run", "pool_create", "pool_destroy", "device_open", "device_close", "device_message", "run_device")
ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover")


def include_cuda() -> Path | None:
    """The folder of cuda.h, of the toolkit that nvcc belongs to."""
    try:
        nvcc = find_nvcc()
    except OutsideError:
        return None
    command = [*nvcc.command, "-x", "cu", "-M", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\S*/cuda_runtime\.h", done.stdout)
    folder = Path(found[0]).parent if found else None
    return folder if folder and (folder / "cuda.h").exists() else None


def needs_nvcc() -> Nvcc:
    try:
        return find_nvcc()
    except OutsideError as error:
        pytest.skip(f"{error}")


@pytest.fixture(scope="session")
def gpu_toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[LibraryFiles, Path]]:
    """gpu_toy(*flags): the toy's library and the folder of its stand-in driver, compiled with these flags."""

    @functools.cache
    def build(*flags: str) -> tuple[LibraryFiles, Path]:
        folder = tmp_path_factory.mktemp("gpu")
        files = write_cuda_library(toy_cuda_spec(), folder / "toy", nvcc=CUDA_13, fatbin=FATBIN, cflags=flags)
        (folder / "driver").mkdir()
        toy_standin(folder / "driver")
        return files, folder / "driver"

    return build


def with_driver(files: LibraryFiles, driver: Path) -> list[str]:
    """Compiler arguments for the toy's header and archive, and the stand-in driver, which the program finds too."""
    headers = [f"-I{folder}" for folder in (files.directory, RUNTIME, STANDIN)]
    return [*headers, str(files.static), str(driver / "libcuda.so.1"), f"-Wl,-rpath,{driver}", "-lm", "-ldl"]


@pytest.mark.parametrize("flags", [(), ADDRESS, ("-fsanitize=thread",)], ids=["plain", "address", "thread"])
@pytest.mark.parametrize("program", ["cuda.c", "cuda_threads.cpp"])
def test_program(
    program: str, flags: tuple[str, ...], gpu_toy: Callable[..., tuple[LibraryFiles, Path]], compiled: Compile
) -> None:
    """Numbers, statuses, what the driver is asked; every call of the driver failing in turn; handles and threads."""
    assert says(compiled(program, *flags, *with_driver(*gpu_toy(*flags)))) == "ok\n"


def test_on_an_arm_host(tmp_path: Path) -> None:
    """The same program, library and stand-in for aarch64, where Jetsons are, under qemu."""
    missing = [tool for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    spec = dataclasses.replace(toy_cuda_spec(), triple=machine_of("aarch64-linux-gnu-gcc"))
    files = write_cuda_library(spec, tmp_path / "toy", cc="aarch64-linux-gnu-gcc", nvcc=CUDA_13, fatbin=FATBIN)
    toy_standin(tmp_path, compiler="aarch64-linux-gnu-g++")
    command = ["aarch64-linux-gnu-gcc", "-std=c99", str(PROGRAMS / "cuda.c"), "-pthread", *with_driver(files, tmp_path)]
    subprocess.run([*command, "-o", str(tmp_path / "program")], check=True)
    assert says("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", tmp_path / "program") == "ok\n"


def test_nothing_is_read_before_it_is_written(
    gpu_toy: Callable[..., tuple[LibraryFiles, Path]], compiled: Compile
) -> None:
    """Under valgrind, which also sees what the stand-in does."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    program = compiled("cuda.c", *with_driver(*gpu_toy()))
    assert says("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", program) == "ok\n"


def test_without_a_driver(gpu_toy: Callable[..., tuple[LibraryFiles, Path]], compiled: Compile) -> None:
    """The program links and starts; opening a device says what is missing."""
    if ctypes.util.find_library("cuda"):
        pytest.skip("this machine has NVIDIA's driver")
    files, _ = gpu_toy()
    program = compiled("cuda_open.c", f"-I{files.directory}", str(files.static), "-ldl", "-lm")
    said = says(program)
    assert said.startswith("not opened: no NVIDIA driver on this machine (libcuda.so.1: cannot open shared object file")
    assert "install the driver, R580 or newer, or build for a CPU" in said


def test_a_driver_without_the_functions(
    gpu_toy: Callable[..., tuple[LibraryFiles, Path]], compiled: Compile, tmp_path: Path
) -> None:
    files, _ = gpu_toy()
    (tmp_path / "old.c").write_text("int cuInit(unsigned f) { (void)f; return 0; }\n")
    library = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["gcc", *library, str(tmp_path / "old.c"), "-o", str(tmp_path / "libcuda.so.1")], check=True)
    driver = [str(tmp_path / "libcuda.so.1"), "-Wl,--no-as-needed", f"-Wl,-rpath,{tmp_path}"]
    program = compiled("cuda_open.c", f"-I{files.directory}", str(files.static), *driver, "-ldl", "-lm")
    said = says(program)
    assert said.startswith("not opened: the NVIDIA driver is too old: it has no cuDriverGetVersion; update it to R580")


def test_more_shared_memory_than_a_block_has_by_itself(
    gpu_toy: Callable[..., tuple[LibraryFiles, Path]], compiled: Compile, tmp_path: Path
) -> None:
    """Past 48 KiB it is asked for, past what the device has it is refused; the stand-in refuses who does not ask."""
    _, driver = gpu_toy()
    files = write_cuda_library(toy_cuda_spec(shared_bytes=100 << 10), tmp_path / "toy", nvcc=CUDA_13, fatbin=FATBIN)
    said = says(compiled("cuda_shared.c", *with_driver(files, driver)))
    assert 'kernel "toy_dense" needs 102400 bytes of shared memory' in said
    assert "a block on device 1 (stand-in 1) can have 101376" in said and "--target" in said


def test_interface_of_the_driver_is_that_of_its_header(compiled: Compile) -> None:
    """cuda_driver.h against the toolkit's cuda.h: prototypes, numbers, layouts."""
    folder = include_cuda()
    if folder is None:
        pytest.skip("no cuda.h: nvcc's toolkit is not installed")
    theirs = f"-isystem{folder}"
    compiled("cuda_prototypes.cpp", theirs, f"-I{RUNTIME}")
    ours = says(compiled("cuda_facts.c", f"-I{RUNTIME}"))
    assert says(compiled("cuda_facts.c", "-DTHEIRS", theirs, f"-I{RUNTIME}", "-Wno-pedantic")) == ours


def test_files(gpu_toy: Callable[..., tuple[LibraryFiles, Path]]) -> None:
    files, _ = gpu_toy()
    exported = {line.split()[-1] for line in says("nm", "-D", "--defined-only", files.shared).splitlines()}
    assert exported == {f"toy_{function}" for function in PUBLIC}
    dynamic = says("readelf", "-dW", files.shared)
    needed = set(re.findall(r"Shared library: \[(.*?)\]", dynamic))
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2"}
    symbols, floor = says("objdump", "-T", files.shared), glibc_floor(TRIPLE)
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", symbols)}
    assert " dlopen" in symbols and floor is not None and max(versions) <= tuple(map(int, floor.floor.split(".")))

    manifest = json.loads(files.manifest.read_text())
    assert manifest["architectures"] == ["sm_80", "sm_90", "compute_80", "compute_90"]
    assert manifest["driver_floor"] == "R580"
    assert manifest["workspace_bytes"] == 0 and manifest["device_bytes"] == 384
    assert manifest["kernels"][1]["grid"] == [7, 2, 1] and manifest["kernels"][1]["shared_bytes"] == 128
    assert sorted(manifest["files"]) == sorted(path.name for path in files.directory.iterdir())
    assert "#define TOY_WORKSPACE_BYTES 0u" in files.header.read_text()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_finds_both(
    gpu_toy: Callable[..., tuple[LibraryFiles, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive brings libdl along."""
    files, driver = gpu_toy()
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(toy REQUIRED)
add_executable(shared {PROGRAMS}/cuda_open.c)
target_link_libraries(shared PRIVATE toy::toy)
add_executable(static {PROGRAMS}/cuda_open.c)
target_link_libraries(static PRIVATE toy::toy_static)
""")
    says("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={files.directory}")
    says("cmake", "--build", tmp_path / "build")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    assert says(tmp_path / "build" / "shared").startswith("opened")
    assert says(tmp_path / "build" / "static").startswith("opened")


def test_pkg_config_names_libdl(gpu_toy: Callable[..., tuple[LibraryFiles, Path]]) -> None:
    files, _ = gpu_toy()
    assert "Libs.private: -pthread -lm -ldl" in files.pkg_config.read_text()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_runtime_compiles_without_warnings(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    write_cuda_library(toy_cuda_spec(), tmp_path, cc=compiler, nvcc=CUDA_13, fatbin=FATBIN, cflags=WARNINGS)


@pytest.mark.parametrize("standard", ["c99", "c++11", "c++20"])
def test_header_compiles(standard: str, gpu_toy: Callable[..., tuple[LibraryFiles, Path]], tmp_path: Path) -> None:
    files, _ = gpu_toy()
    language = "c++" if "+" in standard else "c"
    (tmp_path / "user.c").write_text('#include "toy.h"\nint main(void) { return toy_model() == 0; }\n')
    command = ["gcc", "-x", language, f"-std={standard}", *WARNINGS, f"-I{files.directory}", str(tmp_path / "user.c")]
    done = subprocess.run([*command, "-fsyntax-only"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_contradictions_are_found(tmp_path: Path) -> None:
    spec = toy_cuda_spec()
    scale, dense, _ = spec.launches
    broken = {
        "grid": dataclasses.replace(scale, grid=(1, 70000, 1)),
        "blocks": dataclasses.replace(scale, block=(32, 33, 1)),
        "not a C symbol": dataclasses.replace(scale, symbol="toy scale"),
        "shared bytes": dataclasses.replace(dense, shared_bytes=-1),
        "outside of its buffer": dataclasses.replace(dense, arguments=(CudaArgument("workspace", 0, 384),)),
        "not on a number": dataclasses.replace(dense, arguments=(CudaArgument("weights", 0, 1),)),
    }
    for problem, launch in broken.items():
        with pytest.raises(ValueError, match=problem):
            write_cuda_library(dataclasses.replace(spec, launches=(launch,)), tmp_path, nvcc=CUDA_13, fatbin=FATBIN)
    assert list(tmp_path.iterdir()) == []


def test_nvcc_makes_the_same_bytes_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc = needs_nvcc()
    one = compile_fatbin(SOURCE, ("sm_80", "sm_90"), nvcc)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert compile_fatbin(SOURCE, ("sm_80", "sm_90"), nvcc) == one
    assert b"/tmp" not in one and str(tmp_path).encode() not in one


def test_nvcc_of_a_python_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-cuda-nvcc, which several releases put into several folders; the newest counts, one on the PATH first."""
    for folder, version in (("cuda_nvcc", "12.9"), ("cu13", "13.0")):
        (tmp_path / "nvidia" / folder / "bin").mkdir(parents=True)
        script = tmp_path / "nvidia" / folder / "bin" / "nvcc"
        script.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {version}, V{version}.88'\n")
        script.chmod(0o755)
    monkeypatch.setattr(nvcc_module, "_packaged", lambda: [tmp_path / "nvidia"])
    monkeypatch.setenv("PATH", "/no/where")
    assert find_nvcc() == Nvcc((str(tmp_path / "nvidia/cu13/bin/nvcc"),), (13, 0))
    monkeypatch.setenv("PATH", str(tmp_path / "nvidia/cuda_nvcc/bin"))
    assert find_nvcc() == Nvcc(("nvcc",), (12, 9))


def test_ptx_of_the_oldest_and_the_newest() -> None:
    assert ptx_of(["sm_86", "sm_75", "sm_100"]) == ("compute_75", "compute_100")
    assert ptx_of(["sm_80"]) == ("compute_80",)
    nvcc = needs_nvcc()
    fatbin, at, found = compile_fatbin(SOURCE, ("sm_75", "sm_90"), nvcc), 16, []
    while at < len(fatbin):
        kind, _, header, size = struct.unpack_from("<HHIQ", fatbin, at)
        found.append((kind, struct.unpack_from("<I", fatbin, at + 28)[0]))
        at += header + size
    assert sorted(found) == [(1, 75), (1, 90), (2, 75), (2, 90)]


def test_nvcc_knows_its_architectures() -> None:
    nvcc = needs_nvcc()
    with pytest.raises(OutsideError, match=r"nvcc \d+\.\d+ does not compile for sm_12: it knows sm_\d\d, "):
        compile_fatbin(SOURCE, ("sm_12",), nvcc)


def test_without_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc, spec = shutil.which("gcc"), toy_cuda_spec()
    assert gcc is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cc").symlink_to(gcc)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(nvcc_module, "_packaged", list)
    with pytest.raises(OutsideError, match="no CUDA compiler") as caught:
        write_cuda_library(spec, tmp_path / "out")
    assert "mncc emit --stage cuda" in caught.value.help and not (tmp_path / "out").exists()
