"""Object code into memory: a linker for the objects that graphflow makes; LLVM's on other systems.

Our objects are ELF64 for x86-64, of position-independent code: a few sections, a handful of relocation types
and of external names. Linking one here takes 0.2 ms, and no import of LLVM, which would take 40 ms. An image
is one object, or several that call each other's hidden functions, one after another.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from graphflow.compiler.records import record

_PYTHON = ("Py_IncRef", "PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_CheckSignals",
           "_Py_NoneStruct")
_LIBRARY = ("memcpy", "memmove", "memset",
            *(name + f for name in ("fma", "fmod", "floor", "ceil", "trunc", "rint") for f in ("", "f")))
_THREADS = ("syscall", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait",
            "pthread_cond_broadcast")
_STUB = b"\xff\x25"  # jmp *offset(%rip)
_SLOT = 8
_RELOCATABLE, _X86_64 = 1, 62
_SYMTAB, _RELA, _NOBITS, _UNWIND = 2, 4, 8, 0x70000001
_LOCAL = 0
_WRITE, _ALLOC = 1, 2
_U8, _U16, _U32, _U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
_Row = TypeVar("_Row", bound=ctypes.Structure)
_ABS64, _PC32, _PLT32, _GOTPCREL, _PC64, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 24, 41, 42


class UnlinkableError(Exception):
    """The object wants something that this linker does not have."""


class Code:
    """Executable memory; it goes when nothing refers to this object any more."""

    __slots__ = ("address", "memory")

    def __init__(self, address: int, memory: Any) -> None:
        self.address = address
        self.memory = memory


def is_native() -> bool:
    """Whether objects of this system are linked here, without LLVM."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def load(image: bytes, entry: str) -> Code:
    """The code of an image, and the address of the function `entry`.

    Raises:  UnlinkableError where the image is damaged or not of the kind described above
    """
    return _link(image, entry) if is_native() else load_by_llvm(image, entry)


def load_by_llvm(image: bytes, entry: str) -> Code:
    """The same by LLVM's own linker, on any system."""
    from llvmlite import binding

    from graphflow.runtime.objects import target_machine

    for name, address in externals().items():
        binding.add_symbol(name, address)
    machine = target_machine()
    module = binding.parse_assembly("")
    module.triple = machine.triple
    engine = binding.create_mcjit_compiler(module, machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(image))
    engine.finalize_object()
    return Code(engine.get_function_address(entry), engine)


@functools.lru_cache(maxsize=1)
def externals() -> Mapping[str, int]:
    """The addresses of what objects may call."""
    found = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _PYTHON}
    library = ctypes.CDLL(None)
    for name in (*_LIBRARY, *_THREADS):
        if hasattr(library, name):
            found[name] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return {name: address for name, address in found.items() if address is not None}


class _Header(ctypes.LittleEndianStructure):
    _fields_ = (("ident", ctypes.c_char * 16), ("kind", _U16), ("machine", _U16), ("version", _U32),
                ("entry", _U64), ("segments", _U64), ("sections", _U64), ("flags", _U32), ("size", _U16),
                ("segment_size", _U16), ("segment_count", _U16), ("section_size", _U16),
                ("section_count", _U16), ("names", _U16))


class _Section(ctypes.LittleEndianStructure):
    _fields_ = (("name", _U32), ("type", _U32), ("flags", _U64), ("address", _U64), ("offset", _U64),
                ("size", _U64), ("link", _U32), ("info", _U32), ("alignment", _U64), ("entry_size", _U64))


class _Symbol(ctypes.LittleEndianStructure):
    _fields_ = (("name", _U32), ("info", _U8), ("other", _U8), ("section", _U16), ("value", _U64),
                ("size", _U64))


class _Relocation(ctypes.LittleEndianStructure):
    _fields_ = (("offset", _U64), ("info", _U64), ("addend", ctypes.c_int64))


@record
class _Layout:
    """Where the parts of an image go in memory: sections, then a slot and a stub per external symbol.

    sections   by the number of their object, and their own
    functions  that all objects may refer to
    """

    sections: dict[tuple[int, int], int]
    functions: dict[str, int]
    slots: dict[str, int]
    size: int

    def stub(self, name: str) -> int:
        return self.slots[name] + _SLOT * len(self.slots)


class _Object:
    """The tables of an ELF file."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        head = _Header.from_buffer_copy(image)
        if not head.ident.startswith(b"\x7fELF\x02\x01") or (head.kind, head.machine, head.section_size) != (
                _RELOCATABLE, _X86_64, ctypes.sizeof(_Section)):
            raise UnlinkableError("this is not an object for x86-64")
        table_of_sections = _Section * head.section_count
        self.sections = list(table_of_sections.from_buffer_copy(image, head.sections))
        self.size = head.sections + ctypes.sizeof(table_of_sections)  # it is the last part
        table = next((s for s in self.sections if s.type == _SYMTAB), None)
        if table is None:
            raise UnlinkableError("the object has no symbols")
        self.symbols = self.rows(_Symbol, table)
        self.names = self.bytes_of(self.sections[table.link])

    def bytes_of(self, section: _Section) -> bytes:
        found = self.image[section.offset:section.offset + section.size]
        if len(found) != section.size:
            raise UnlinkableError("the object is cut off")
        return found

    def rows(self, kind: type[_Row], section: _Section) -> list[_Row]:
        data = self.bytes_of(section)
        return list((kind * (len(data) // ctypes.sizeof(kind))).from_buffer_copy(data))

    def name(self, symbol: _Symbol) -> str:
        return self.names[symbol.name:self.names.index(b"\0", symbol.name)].decode()

    def loaded(self) -> Iterator[tuple[int, _Section]]:
        """The sections that go into memory; tables for unwinding have no use, since nothing is thrown."""
        for k, s in enumerate(self.sections):
            if s.flags & _ALLOC and s.size and s.type != _UNWIND:
                if s.flags & _WRITE or s.type == _NOBITS:
                    raise UnlinkableError("the object has variables")
                yield k, s

    def relocations(self) -> Iterator[tuple[int, _Relocation]]:
        """Every relocation of a loaded section, with that section's number."""
        loaded = {k for k, _ in self.loaded()}
        for s in self.sections:
            if s.type == _RELA and s.info in loaded:
                for row in self.rows(_Relocation, s):
                    yield s.info, row


def _link(image: bytes, entry: str) -> Code:
    try:
        objects = list(_objects(image))
        layout = _layout(objects)
        memory = mmap.mmap(-1, max(layout.size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        memory[:layout.size] = _linked(objects, layout, base)
        address = base + layout.functions[entry]
    except (struct.error, LookupError, OverflowError, ValueError, OSError) as e:
        raise UnlinkableError(f"the object is damaged: {e!r}") from None
    _make_executable(base, len(memory))
    return Code(address, memory)


def _objects(image: bytes) -> Iterator[_Object]:
    """The objects of an image: one at least."""
    at = 0
    while at < max(len(image), 1):
        found = _Object(image[at:])
        yield found
        at += found.size


def _layout(objects: Sequence[_Object]) -> _Layout:
    sections, end = dict[tuple[int, int], int](), 0
    for n, each in enumerate(objects):
        for k, s in each.loaded():
            start = -(-end // s.alignment) * s.alignment if s.alignment else end
            sections[n, k], end = start, start + s.size
    functions = {each.name(s): sections[n, s.section] + s.value for n, each in enumerate(objects)
                 for s in each.symbols if s.info >> 4 != _LOCAL and (n, s.section) in sections}
    outside = dict.fromkeys(each.name(s) for each in objects for s in each.symbols if s.section == 0)
    first = -(-end // _SLOT) * _SLOT
    slots = {name: first + _SLOT * k for k, name in enumerate(n for n in outside if n and n not in functions)}
    return _Layout(sections, functions, slots, first + 2 * _SLOT * len(slots))


def _linked(objects: Sequence[_Object], layout: _Layout, base: int) -> bytearray:
    """The image's bytes as they go to the address `base`."""
    out = bytearray(layout.size)
    for name, slot in layout.slots.items():
        if name not in externals():
            raise UnlinkableError(f"the object calls {name}")
        stub = layout.stub(name)
        struct.pack_into("<Q", out, slot, externals()[name])
        struct.pack_into("<2si", out, stub, _STUB, slot - (stub + 6))
    for n, each in enumerate(objects):
        for k, s in each.loaded():
            out[layout.sections[n, k]:layout.sections[n, k] + s.size] = each.bytes_of(s)
        for section, r in each.relocations():
            at, symbol = layout.sections[n, section] + r.offset, each.symbols[r.info >> 32]
            if symbol.section:
                target: int | str = layout.sections[n, symbol.section] + symbol.value
            else:
                target = layout.functions.get(each.name(symbol), each.name(symbol))
            _relocate(out, r.info & 0xFFFFFFFF, at, r.addend, base, layout, target)
    return out


def _relocate(out: bytearray, kind: int, at: int, addend: int, base: int, layout: _Layout,
              target: int | str) -> None:
    """Put an address in place, by the psABI's formulas; positions are relative to `base`, a target's too."""
    if isinstance(target, str):
        if kind not in (_PLT32, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX):
            raise UnlinkableError(f"relocation {kind} of the external {target}")
        value = layout.stub(target) if kind == _PLT32 else layout.slots[target]
        struct.pack_into("<i", out, at, value + addend - at)
        return
    value = target + addend
    if kind == _ABS64:
        struct.pack_into("<Q", out, at, base + value)
    elif kind in (_PC32, _PLT32):
        struct.pack_into("<i", out, at, value - at)
    elif kind == _PC64:
        struct.pack_into("<q", out, at, value - at)
    else:
        raise UnlinkableError(f"relocation {kind}")


def _make_executable(address: int, size: int) -> None:
    """From writable to executable: never both."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise UnlinkableError(f"the system allows no new code here (errno {ctypes.get_errno()})")
