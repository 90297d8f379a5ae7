"""Symbols of object files, hidden by their bytes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from mncc.library.objects import hide_symbols
from tests.library.conftest import says

SOURCE = """
int used(int x);
int kernel(int x) { return used(x); }
__attribute__((weak)) int helper(int x) { return x; }
static int own = 3;
int *table[] = {&own};
"""


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc"])
def test_elf(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    (tmp_path / "a.c").write_text(SOURCE)
    subprocess.run([compiler, "-c", "a.c"], cwd=tmp_path, check=True)
    code = (tmp_path / "a.o").read_bytes()
    (tmp_path / "a.o").write_bytes(hide_symbols(code))
    shown = {
        words[7]: words[4:6]
        for words in map(str.split, says("readelf", "-sW", tmp_path / "a.o").splitlines())
        if len(words) == 8
    }
    assert shown["kernel"] == shown["table"] == ["GLOBAL", "HIDDEN"] and shown["helper"] == ["WEAK", "HIDDEN"]
    assert shown["used"] == ["GLOBAL", "DEFAULT"], "what is not defined here is looked for everywhere"
    assert shown["own"] == ["LOCAL", "DEFAULT"]
    assert hide_symbols(hide_symbols(code)) == hide_symbols(code)


def test_mach_o() -> None:
    """A header, a load command of another kind, LC_SYMTAB, and four symbols: local, defined, undefined, debugging."""
    kinds = [0x0E, 0x0F, 0x01, 0x64]
    symbols = b"".join(struct.pack("<IBBHQ", n, kind, 1, 0, 0) for n, kind in enumerate(kinds))
    commands = struct.pack("<IIQ", 0x32, 16, 0) + struct.pack("<IIIIII", 2, 24, 32 + 40, len(kinds), 0, 0)
    code = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 1, 2, 40, 0, 0) + commands + symbols
    hidden = hide_symbols(code)
    assert [hidden[72 + 16 * n + 4] for n in range(4)] == [0x0E, 0x1F, 0x01, 0x64]
    assert hidden[:72] == code[:72] and len(hidden) == len(code)


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="neither ELF nor"):
        hide_symbols(b"\x4c\x01" + bytes(100))
