"""Engine: from a fetch signature to an Executable, compiled when first called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from graphflow.compiler import flags
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.program import Program
from graphflow.compiler.signature import Signature
from graphflow.runtime import report
from graphflow.runtime.collection import paused
from graphflow.runtime.compilation import compile_native, native_of
from graphflow.runtime.executable import Executable, Pins, Variant
from graphflow.runtime.locks import Locked
from graphflow.runtime.memory import Arenas, Room, bring_in
from graphflow.runtime.pages import form_of
from graphflow.runtime.plan import Plan
from graphflow.runtime.setup import Setup
from graphflow.runtime.threads import session_threads
from graphflow.runtime.variables import VariableStore

_WORD = 0xFFFFFFFF


class Engine(Locked):
    """Compiles the signatures of one graph against one store of variables; several threads may use it.

    threads  how many a run may use; 0 is one per core
    """

    def __init__(self, graph: Graph, store: VariableStore, threads: int = 0) -> None:
        super().__init__()
        self.graph = graph
        self.store = store
        self.threads = session_threads(threads)
        self.arenas = Arenas()
        self._executables: dict[object, Executable] = {}
        self._setups: dict[object, Setup] = {}
        self._entropy = int.from_bytes(os.urandom(8), "little")
        self._runs = 0
        self._drawing = Locked()  # not the engine's lock: that is held while another thread compiles
        self.closed = False

    def prepare(self, fetches: Sequence[Tensor], targets: Sequence[Operation],
                feeds: Sequence[Tensor], kept: Sequence[Tensor] = (), whole: bool = False) -> Executable:
        """The executable that gives `fetches` and runs `targets`, taking a value per feed.

        kept   histories of loops, the rows of which it takes as well
        whole  its programs have all of their loop nests, which those out of the cache have not
        """
        key = (tuple(fetches), tuple(targets), tuple(feeds), tuple(kept), whole)
        with self.lock:
            found = self._executables.get(key)
            if found is None:
                found = self._executables[key] = self._new_executable(*key)
            return found

    def _new_executable(self, fetches: tuple[Tensor, ...], targets: tuple[Operation, ...],
                        feeds: tuple[Tensor, ...], kept: tuple[Tensor, ...], whole: bool) -> Executable:
        def signature(types: tuple[TensorType, ...], pins: Pins) -> Signature:
            return Signature(fetches, targets, feeds, types, pins, kept=kept)

        return Executable(self, signature, lambda s: self._compile(s, whole), feeds,
                          stage=partial(self.prepare, whole=whole))

    def _compile(self, signature: Signature, whole: bool) -> Variant:
        times = report.Times()
        with paused():
            program, native = compile_native(signature, times.note, whole, self._make_room)
            setup = self._setup(program.setup) if program.setup else None
        times.note("native")
        if flags.debug_level():
            report.compiled(program, times, native)
        return Variant(program, native, setup)

    def _make_room(self, program: Program) -> None:
        """Make what a program's first run needs besides its code, and have memory come in meanwhile."""
        with suppress(MemoryError):  # the run will say so
            bring_in(self.store.hold(program.writes), self.threads)
        if program.setup:
            self._setup(program.setup)

    def _setup(self, program: Program) -> Setup:
        """The same for all executables whose setups are equal, as are those of other feeds."""
        launches = tuple((c.buffers, c.symbols) for c in program.calls)
        key = program.ir, program.buffers, launches, tuple(map(id, program.constants))
        found = self._setups.get(key)
        if found is None:
            room = Room([form_of(t) for t in program.outputs], self.threads)
            plan = Plan(program, native_of(program), {}, self.store, self.next_key, self.threads,
                        empty=room, arenas=self.arenas)
            found = self._setups[key] = Setup(plan)
        return found

    def close(self) -> None:
        """Let go of everything compiled; executables raise RuntimeError from now on."""
        with self.lock:
            self.closed = True
            for executable in self._executables.values():
                executable.forget()

    def next_key(self) -> tuple[int, int, int, int]:
        """Key words for the random ops of one run: the session's entropy, and a number of this run alone."""
        with self._drawing.lock:
            key = self.peek_key()
            self._runs += 1
        return key

    def peek_key(self) -> tuple[int, int, int, int]:
        """The key words that the next run with random ops will have."""
        return self._entropy & _WORD, self._entropy >> 32, self._runs & _WORD, self._runs >> 32
