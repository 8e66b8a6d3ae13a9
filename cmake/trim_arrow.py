#!/usr/bin/env python3
"""Writes a copy of Arrow's libraries that starts faster, for the partita command of a build tree.

usage: trim_arrow.py OUT_DIR LIBRARY...

The wheel's libraries are linked to serve any program: each may replace any of their functions. The command replaces
none, yet the dynamic linker looks up 29,000 names at every start. The copy differs from the original in bytes of the
relocation tables alone (docs/decisions/0010-start-up.md tells what is gained, and why this is safe):

1. A reference of a library to a function, vtable or type of its own is bound to that very definition, as the link
   editor's -Bsymbolic would have done. Variables are left alone: one definition of them serves the whole process.
2. Calls of its own functions through the PLT likewise.
3. Constructors that prepare what the command never uses are not run (UNNEEDED_CONSTRUCTORS).

What is not ELF for x86-64 laid out as expected is copied as it is.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import struct
import sys

# curl.cpp: Azure's SDK starts libcurl and with it OpenSSL, which reads its configuration file. Libcurl would do so
# itself at its first use; the command's own transfers go through another libcurl.
# jemalloc_constructor: starts a thread. jemalloc starts itself at its first allocation.
UNNEEDED_CONSTRUCTORS = (b"_GLOBAL__sub_I_curl.cpp", b"jemalloc_constructor")

R_64, R_GLOB_DAT, R_JUMP_SLOT, R_RELATIVE = 1, 6, 7, 8
STT_FUNC, STB_GNU_UNIQUE, SHN_UNDEF = 2, 10, 0
DT_NULL, DT_RELACOUNT = 0, 0x6FFFFFF9
RELA, SYMBOL = struct.Struct("<QQq"), struct.Struct("<IBBHQQ")


class UnexpectedLayoutError(Exception):
    """The file is not laid out as this program understands."""


class Library:
    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (3, 62):
            raise UnexpectedLayoutError("not a shared ELF library for x86-64")
        self.data = bytearray(data)
        table, count, names = (struct.unpack_from(f, data, at)[0] for f, at in (("<Q", 40), ("<H", 60), ("<H", 62)))
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
        self.sections = {self.name(headers[names][4] + h[0]).decode(): h[3:6] for h in headers}  # address, offset, size

    def name(self, at: int) -> bytes:
        return bytes(self.data[at : self.data.index(0, at)])

    def section(self, name: str) -> tuple[int, int, int]:
        if name not in self.sections:
            raise UnexpectedLayoutError(f"no section {name}")
        return self.sections[name]

    def relocations(self, name: str) -> list[tuple[int, int, int]]:
        _, offset, size = self.section(name)
        return list(RELA.iter_unpack(self.data[offset : offset + size]))

    def own_address(self, index: int) -> int | None:
        """Where symbol `index` is, if it is a definition of this library to which its references may be bound."""
        name, info, _, section, address, _ = SYMBOL.unpack_from(
            self.data, self.section(".dynsym")[1] + SYMBOL.size * index
        )
        if section == SHN_UNDEF or info >> 4 == STB_GNU_UNIQUE:
            return None
        text = self.name(self.section(".dynstr")[1] + name)
        return address if info & 15 == STT_FUNC or text[:4] in (b"_ZTV", b"_ZTI", b"_ZTS", b"_ZTT") else None

    def addresses_of(self, names: tuple[bytes, ...]) -> set[int]:
        """Of local symbols, which only an unstripped library has."""
        if ".symtab" not in self.sections:
            return set()
        (_, offset, size), text = self.section(".symtab"), self.section(".strtab")[1]
        symbols = SYMBOL.iter_unpack(self.data[offset : offset + size])
        return {s[4] for s in symbols if s[1] & 15 == STT_FUNC and self.name(text + s[0]) in names}


def trim(library: Library) -> None:
    own = {r[1] >> 32: library.own_address(r[1] >> 32) for r in library.relocations(".rela.dyn")}
    unneeded = library.addresses_of(UNNEEDED_CONSTRUCTORS)
    first, _, size = library.section(".init_array")
    init = library.section(".init")
    if library.data[init[1] + init[2] - 1] != 0xC3:
        raise UnexpectedLayoutError(".init does not end with a return")
    plain_return = init[0] + init[2] - 1

    relative, others = [], []
    for place, info, addend in library.relocations(".rela.dyn"):
        kind, target = info & 0xFFFFFFFF, own[info >> 32] if info >> 32 else None
        if target is not None and kind in (R_64, R_GLOB_DAT):
            relative.append((place, R_RELATIVE, target + (addend if kind == R_64 else 0)))
        elif kind == R_RELATIVE:
            skipped = first <= place < first + size and addend in unneeded
            relative.append((place, R_RELATIVE, plain_return if skipped else addend))
        else:
            others.append((place, info, addend))
    relative.sort()
    offset = library.section(".rela.dyn")[1]
    for i, relocation in enumerate(relative + others):
        RELA.pack_into(library.data, offset + RELA.size * i, *relocation)
    count_relative(library, len(relative))
    bind_calls(library)


def count_relative(library: Library, count: int) -> None:
    _, offset, size = library.section(".dynamic")
    for at in range(offset, offset + size, 16):
        tag = struct.unpack_from("<Q", library.data, at)[0]
        if tag == DT_RELACOUNT:
            struct.pack_into("<Q", library.data, at + 8, count)
            return
        if tag == DT_NULL:
            break
    raise UnexpectedLayoutError("no DT_RELACOUNT")


def bind_calls(library: Library) -> None:
    """A slot holds where the first call goes: the resolver, or at once the function. The loader adds the base."""
    address, offset, size = library.section(".got.plt")
    for place, info, _ in library.relocations(".rela.plt"):
        target = library.own_address(info >> 32) if info & 0xFFFFFFFF == R_JUMP_SLOT else None
        if target is not None and address <= place < address + size:
            struct.pack_into("<Q", library.data, offset + place - address, target)


def main(arguments: list[str]) -> int:
    out = pathlib.Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    for source in map(pathlib.Path, arguments[1:]):
        part = out / f".{source.name}.{os.getpid()}"
        try:
            library = Library(source.read_bytes())
            trim(library)
            part.write_bytes(library.data)
        except (UnexpectedLayoutError, struct.error, ValueError) as error:
            print(f"{source.name} is copied as it is: {error}", file=sys.stderr)
            shutil.copyfile(source, part)
        part.replace(out / source.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
