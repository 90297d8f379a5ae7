"""Object files as bytes: what LLVM leaves visible in them, hidden."""

from __future__ import annotations

import struct

import numpy as np

_LOCAL, _HIDDEN = 0, 2
"""ELF: the binding STB_LOCAL and the visibility STV_HIDDEN."""
_SYMTAB = 2
"""ELF: the section type SHT_SYMTAB; Mach-O: the load command LC_SYMTAB has the same number."""
_STAB, _PRIVATE, _TYPE, _EXTERNAL = 0xE0, 0x10, 0x0E, 0x01
"""Mach-O: bits of n_type. Debugging entries, private external, where it is defined (0: nowhere), external."""


def hide_symbols(content: bytes) -> bytes:
    """The same relocatable object, every symbol that it defines hidden: objects that are linked with it find it, the
    library that comes of it does not export it.

    LLVM gives kernels the default visibility, and not every toolchain has an objcopy. Raises ValueError for what is
    neither ELF nor 64-bit Mach-O of little endian.
    """
    changed = bytearray(content)
    if content[:4] == b"\x7fELF" and content[5] == 1:
        _hide_elf(changed, wide=content[4] == 2)
    elif content[:4] == b"\xcf\xfa\xed\xfe":
        _hide_macho(changed)
    else:
        raise ValueError(f"an object that begins with {content[:6].hex()} is neither ELF nor 64-bit Mach-O")
    return bytes(changed)


def _hide_elf(content: bytearray, wide: bool) -> None:
    """Elf32_Sym and Elf64_Sym hold the same fields in another order; see elf(5)."""
    (sections,) = struct.unpack_from("<Q" if wide else "<I", content, 40 if wide else 32)
    size, count = struct.unpack_from("<HH", content, 58 if wide else 46)
    if wide:
        symbol = np.dtype("<u4, u1, u1, <u2, <u8, <u8")
        info, other, section = "f1", "f2", "f3"
    else:
        symbol = np.dtype("<u4, <u4, <u4, u1, u1, <u2")
        info, other, section = "f3", "f4", "f5"
    for number in range(count):
        at = sections + number * size
        if struct.unpack_from("<I", content, at + 4)[0] != _SYMTAB:
            continue
        offset, nbytes = struct.unpack_from("<QQ" if wide else "<II", content, at + (24 if wide else 16))
        table = np.frombuffer(content, symbol, nbytes // symbol.itemsize, offset)
        defined = (table[info] >> 4 != _LOCAL) & (table[section] != 0)
        table[other][defined] = (table[other][defined] & 0xFC) | _HIDDEN


def _hide_macho(content: bytearray) -> None:
    """The load commands follow a header of 32 bytes; one of them says where the array of nlist_64 lies."""
    (commands,) = struct.unpack_from("<I", content, 16)
    symbol, at = np.dtype("<u4, u1, u1, <u2, <u8"), 32
    for _ in range(commands):
        command, size = struct.unpack_from("<II", content, at)
        if command == _SYMTAB:
            offset, count = struct.unpack_from("<II", content, at + 8)
            kind = np.frombuffer(content, symbol, count, offset)["f1"]
            defined = (kind & _STAB == 0) & (kind & _EXTERNAL != 0) & (kind & _TYPE != 0)
            kind[defined] |= _PRIVATE
        at += size
