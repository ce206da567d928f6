"""From a signature to native code: out of the cache where it is known, else by the compiler, which is
imported when first needed.

Two levels: what a signature compiles to, under a hash of the graph; and object code, under a hash of the LLVM
IR, which serves when the graph or the compiler has changed and the code has not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphflow.compiler import flags
from graphflow.compiler.codec import CodecError, decode, encode
from graphflow.compiler.fingerprint import Subject, UnsuitedError
from graphflow.compiler.program import Program
from graphflow.compiler.signature import Signature, Undecided
from graphflow.runtime import cache, cpu, jit, objects
from graphflow.runtime.loader import UnlinkableError
from graphflow.runtime.locks import COMPILING
from graphflow.runtime.plan import Compiled
from graphflow.runtime.sources import compiler_version

Note = Callable[[str], None]
_KEY = 64  # characters of a key


def compile_native(signature: Signature, note: Note, whole: bool,
                   meanwhile: Callable[[Program], None]) -> tuple[Program, Compiled]:
    """The program of a signature, ready to run. In one out of the cache, loop nests are outlines.

    note       called with the name of each step when it is done
    whole      have it compiled, with all of its loop nests
    meanwhile  called with a program whose code is about to be loaded
    Raises:  what `compile_signature` raises
    """
    COMPILING.give_way()
    with COMPILING:
        return _compile_native(signature, note, whole, meanwhile)


def _compile_native(signature: Signature, note: Note, whole: bool,
                    meanwhile: Callable[[Program], None]) -> tuple[Program, Compiled]:
    if not flags.use_jit():
        program = _compile(signature, note)
        return program, native_of(program)
    known = None if whole or _wants_a_whole_program() else cache.current()
    if known is None:
        program = _compile(signature, note)
        return program, jit.compile_ir(program.ir, program.entry)
    return _Cached(signature, known, note, meanwhile).get()


def native_of(program: Program) -> Compiled:
    """A program's code, out of the cache or into it."""
    if not flags.use_jit():
        from graphflow.runtime.interpreter import InterpretedProgram

        return InterpretedProgram(program)
    known = None if flags.use_numba() else cache.current()
    return jit.compile_ir(program.ir, program.entry) if known is None else _known_native(known, program)


def _known_native(known: cache.Cache, program: Program) -> jit.NativeFunction:
    key = objects.key_of(program.ir)
    image = known.read(key)
    try:
        found = image and jit.load_object(image, program.entry, program.ir)
    except UnlinkableError:
        found = None
    if not found:
        found = jit.compile_ir(program.ir, program.entry)
        if found.image:
            known.write(key, found.image)
    return found


def _wants_a_whole_program() -> bool:
    return flags.debug_level() > 0 or flags.check_passes() or flags.use_numba()


def _compile(signature: Signature, note: Note, key: str | None = None) -> Program:
    from graphflow.compiler.pipeline import compile_signature

    if not flags.tune_products():
        return compile_signature(signature, cpu.host_target(), note)
    from graphflow.runtime.tuning import compile_tuned

    return compile_tuned(lambda target: compile_signature(signature, target, note), key)


def _key_of(key: str) -> str:
    """Of the program that a signature of this key compiles to now."""
    if not flags.tune_products():
        return key
    from graphflow.runtime.tuning import tuned_key

    return tuned_key(key)


class _Cached:
    """One look-up, and one compilation when it fails."""

    def __init__(self, signature: Signature, known: cache.Cache, note: Note,
                 meanwhile: Callable[[Program], None]) -> None:
        self.signature = signature
        self.meanwhile = meanwhile
        self.cache = known
        self.note = note
        try:
            self.subject: Subject | None = Subject(signature)
            self.key: str | None = self._key(self.subject)
        except UnsuitedError:
            self.subject = self.key = None

    def _key(self, subject: Subject) -> str:
        return cache.key_of("program", compiler_version(self.cache), objects.version(), cpu.target(),
                            f"{cpu.host_target()} {flags.use_blas()} {flags.use_winograd()} "
                            f"{flags.use_bands()}", subject.fingerprint)

    def get(self) -> tuple[Program, Compiled]:
        found = self._find()
        self.note("cache")
        return found or self._make()

    def _find(self) -> tuple[Program, Compiled] | None:
        data = None if self.key is None else self.cache.read(_key_of(self.key))
        if data is None or self.subject is None:
            return None
        try:
            program = decode(data[_KEY:], self.subject)
            if isinstance(program, Undecided):
                raise program
            image = self.cache.read(data[:_KEY].decode("ascii", "replace"))
            if image is None or not isinstance(program, Program):
                return None
            self.meanwhile(program)
            return program, jit.load_object(image, program.entry, program.ir)
        except (CodecError, UnlinkableError):
            return None

    def _make(self) -> tuple[Program, Compiled]:
        try:
            program = _compile(self.signature, self.note, self.key)
        except Undecided as e:
            self._keep(e, "-" * _KEY)
            raise
        native = _known_native(self.cache, program)
        if native.image:
            self._keep(replace(program, dumps=()), objects.key_of(program.ir))
        return program, native

    def _keep(self, result: Program | Undecided, key: str) -> None:
        if self.subject is not None and self.key is not None:
            try:
                self.cache.write(_key_of(self.key), key.encode() + encode(result, self.subject))
            except CodecError:
                self.subject = None
