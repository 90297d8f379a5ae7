"""Libraries that zig links: the same names, the same checks, for systems that no compiler of this machine knows."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import sys
from pathlib import Path

import pytest

from mncc.library.spec import LibrarySpec
from mncc.library.write import LibraryFiles, write_library
from tests.library.conftest import PROGRAMS, says
from tests.library.toy import toy_spec

ZIG = f"{sys.executable} -m ziglang cc"
APPLE = "aarch64-apple-macosx11.0.0"
ARM64 = "aarch64-linux-gnu"
pytestmark = [
    pytest.mark.full,  # zig builds the C library of a target once, which takes half a minute
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="zig is not installed: pip install ziglang"),
]


def spec(triple: str, target: str) -> LibrarySpec:
    return toy_spec(triple=triple, compiler=f"{ZIG} -target {target}", features=("neon",))


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> LibraryFiles:
    folder = tmp_path_factory.mktemp("zig") / "toy"
    return write_library(spec(ARM64, "aarch64-linux-gnu.2.17"), folder, cc=ZIG, probe=True)


def test_exports_and_needs_no_more(arm64: LibraryFiles) -> None:
    functions = {"toy_model", "toy_run", "toy_pool_create", "toy_pool_destroy"}
    probe = {f"toy_probe{what}" for what in ("", "_at", "_weights", "_select", "_target")}
    assert arm64.probe is not None
    for file, names in ((arm64.shared, functions), (arm64.probe, functions | probe)):
        assert {line.split()[-1] for line in says("nm", "-D", "--defined-only", file).splitlines()} == names
    dynamic = says("readelf", "-dW", arm64.shared)
    assert set(re.findall(r"Shared library: \[(.*?)\]", dynamic)) <= {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    assert re.findall(r"Library soname: \[(.*?)\]", dynamic) == ["libtoy.so"] and "NOW" in dynamic
    assert set(re.findall(r"GLIBC_([0-9.]+)", says("readelf", "-VW", arm64.shared))) == {"2.17"}
    assert re.search(r"GNU_STACK.* RW ", says("readelf", "-lW", arm64.shared))


def test_all_else_in_the_archive_is_hidden_and_begins_with_the_name(arm64: LibraryFiles) -> None:
    lines = [line.split() for line in says("readelf", "-sW", arm64.static).splitlines()]
    shown = {words[7]: words[5] for words in lines if len(words) == 8 and words[4] == "GLOBAL" and words[6] != "UND"}
    visible = {name for name, visibility in shown.items() if visibility == "DEFAULT"}
    assert visible == {"toy_model", "toy_run", "toy_pool_create", "toy_pool_destroy"}
    assert all(name.startswith("toy_") for name in shown)


@pytest.mark.skipif(
    shutil.which("qemu-aarch64") is None or shutil.which(f"{ARM64}-gcc") is None,
    reason="gcc-aarch64-linux-gnu and qemu-user are not installed",
)
def test_runs(arm64: LibraryFiles, tmp_path: Path) -> None:
    """The archive in a program that another compiler links."""
    program, flags = tmp_path / "statuses", ["-std=c99", "-static", "-pthread"]
    says(f"{ARM64}-gcc", *flags, PROGRAMS / "statuses.c", f"-I{arm64.directory}", arm64.static, "-lm", "-o", program)
    assert says("qemu-aarch64", "-cpu", "cortex-a53", program) == "ok\n"


def test_macos(tmp_path: Path) -> None:
    """Linked and inspected; not run. The folder holds the same bytes wherever it lies."""
    one, two = (
        write_library(spec(APPLE, "aarch64-macos.11.0"), tmp_path / name, cc=ZIG) for name in ("one", "another")
    )
    assert one.shared.name == "libtoy.dylib"
    content = one.shared.read_bytes()
    assert content == two.shared.read_bytes() and one.static.read_bytes() == two.static.read_bytes()
    assert content[:4] == b"\xcf\xfa\xed\xfe" and b"@rpath/libtoy.dylib\0" in content
    assert exported(content) == {"_toy_model", "_toy_run", "_toy_pool_create", "_toy_pool_destroy"}


def exported(content: bytes) -> set[str]:
    """Names of symbols that a dylib defines and others can see."""
    at, found = 32, set()
    for _ in range(struct.unpack_from("<I", content, 16)[0]):
        command, size = struct.unpack_from("<II", content, at)
        if command == 2:
            symbols, count, strings, _ = struct.unpack_from("<4I", content, at + 8)
            for number in range(count):
                name, kind = struct.unpack_from("<IB", content, symbols + 16 * number)
                if kind & 0xFF == 0x0F:
                    found.add(content[strings + name :].split(b"\0")[0].decode())
        at += size
    return found - {"__mh_dylib_header", "___dso_handle"}
