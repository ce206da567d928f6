"""The program's entry: one native function that runs every kernel.

Its C signature is that of a Python builtin, `PyObject *entry(PyObject *self, PyObject **args, Py_ssize_t n)`:
the frame array first, then the feed and the output arrays. It gives None, or the frame after an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.frame import (
    ERROR_CHECK,
    PARALLEL_FOR,
    POOL,
    RELEASE_LOCK,
    block_starts,
    range_slot,
    slots_of,
)
from graphflow.compiler.program import Action, Branch, Buffer, Call, Move, Repeat, Run, moves

ARRAY_DATA = 16  # bytes into a numpy array object (after the object header) where its data pointer lies

# `contract`, `reassoc` and the nan flags are nowhere: results are those of the expressions as written
ATTRIBUTES = '''attributes #0 = { nounwind "prefer-vector-width"="512" }
attributes #1 = { nounwind alwaysinline "prefer-vector-width"="512" }
!0 = !{!"branch_weights", i32 1, i32 10000}
!1 = !{!"branch_weights", i32 10000, i32 1}'''


def emit_module(module: Module, kernels: Sequence[str], entry: str) -> str:
    """The whole module's text."""
    declarations = ["@_Py_NoneStruct = external global i8", "declare void @Py_IncRef(ptr)",
                    "declare ptr @PyEval_SaveThread()", "declare void @PyEval_RestoreThread(ptr)",
                    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"]
    return "\n".join([*declarations, module.text(), *kernels, entry, ATTRIBUTES, ""])


def emit_entry(name: str, buffers: Sequence[Buffer], calls: Sequence[Call], steps: Sequence[Action],
               copies: Sequence[tuple[int, int]]) -> str:
    """The entry's text. Each copy, made after all kernels, has slots from, to, bytes after the last block."""
    starts = block_starts(calls)
    walk = _Steps(calls, starts, steps, len(copies))
    lines = [f"define ptr @{name}(ptr %self, ptr %args, i64 %n) #0 {{", "entry:",
             "%frame_object = load ptr, ptr %args, align 8", *_data("frame", "%frame_object"),
             *_slot("release", RELEASE_LOCK, "i64"), "%heavy = icmp ne i64 %release, 0",
             f"%error = getelementptr i64, ptr %frame, i64 {ERROR_CHECK}", "store i64 0, ptr %error, align 8"]
    for k, slots in _array_slots(buffers, slots_of(calls, steps, copies)).items():
        lines += [f"%a{k} = getelementptr ptr, ptr %args, i64 {k}", f"%o{k} = load ptr, ptr %a{k}, align 8",
                  *_data(f"d{k}", f"%o{k}")]
        for slot in slots:
            lines += [f"%s{slot} = getelementptr i64, ptr %frame, i64 {slot}",
                      f"store ptr %d{k}, ptr %s{slot}, align 8"]
    lines += ["br i1 %heavy, label %unlock, label %work", "unlock:", "%saved = call ptr @PyEval_SaveThread()",
              "br label %work", "work:", "%state = phi ptr [null, %entry], [%saved, %unlock]"]
    walk.emit(steps)
    lines += walk.lines
    for k in range(len(copies)):
        lines += _copy(k, starts[-1] + 3 * k)
    lines += ["br label %done", "done:", "br i1 %heavy, label %lock, label %end",
              "lock:", "call void @PyEval_RestoreThread(ptr %state)", "br label %end",
              "end:", "%code = load i64, ptr %error, align 8", "%fine = icmp eq i64 %code, 0",
              "%result = select i1 %fine, ptr @_Py_NoneStruct, ptr %frame_object",
              "call void @Py_IncRef(ptr %result)", "ret ptr %result", "}"]
    return "\n".join(lines)


class _Steps:
    """The text of what the program does in order; moves and flags have their slots in the same order."""

    def __init__(self, calls: Sequence[Call], starts: Sequence[int], steps: Sequence[Action],
                 copies: int) -> None:
        self.calls = calls
        self.starts = starts
        first_move = starts[-1] + 3 * copies
        self.move_slots = itertools.count(first_move, 3)
        self.flag_slots = itertools.count(first_move + 3 * len(moves(steps)))
        self.lines: list[str] = []

    def emit(self, steps: Sequence[Action]) -> None:
        for s in steps:
            if isinstance(s, Run):
                self.run(s.call)
            elif isinstance(s, Move):
                slot = next(self.move_slots)
                self.lines += _copy(slot, slot)
            elif isinstance(s, Repeat):
                self.repeat(s)
            else:
                self.branch(s)

    def run(self, k: int) -> None:
        call = self.calls[k]
        self.lines += [f"%block{k} = getelementptr i64, ptr %frame, i64 {self.starts[k]}", *_launch(k, call)]
        if call.nest.checks:  # what failed must not reach a variable
            self.lines += [f"%failed{k} = load i64, ptr %error, align 8",
                           f"%go{k} = icmp eq i64 %failed{k}, 0",
                           f"br i1 %go{k}, label %next{k}, label %done, !prof !1", f"next{k}:"]

    def repeat(self, s: Repeat) -> None:
        slot = next(self.flag_slots)
        self.lines += [f"br label %test{slot}", f"test{slot}:"]
        self.emit(s.test)
        self.flag(slot, f"body{slot}", f"end{slot}")
        self.lines.append(f"body{slot}:")
        self.emit(s.body)
        self.lines += [f"br label %test{slot}", f"end{slot}:"]

    def branch(self, s: Branch) -> None:
        slot = next(self.flag_slots)
        self.flag(slot, f"then{slot}", f"else{slot}")
        for label, inner in (("then", s.then), ("else", s.otherwise)):
            self.lines.append(f"{label}{slot}:")
            self.emit(inner)
            self.lines.append(f"br label %join{slot}")
        self.lines.append(f"join{slot}:")

    def flag(self, slot: int, then: str, otherwise: str) -> None:
        self.lines += [*_slot(f"flag{slot}", slot, "ptr"), f"%byte{slot} = load i8, ptr %flag{slot}, align 1",
                       f"%bit{slot} = icmp ne i8 %byte{slot}, 0",
                       f"br i1 %bit{slot}, label %{then}, label %{otherwise}"]


def _launch(k: int, c: Call) -> list[str]:
    """Run a kernel: in one go, or its parts in the pool when there are several."""
    if not c.nest.parallel:
        return [f"call void @{c.function}(ptr %frame, ptr %block{k})"]
    slot = range_slot(c)
    return [f"%count{k}.at = getelementptr i64, ptr %block{k}, i64 {slot}",
            f"%count{k} = load i64, ptr %count{k}.at, align 8",
            f"%length{k}.at = getelementptr i64, ptr %block{k}, i64 {slot + 1}",
            f"%length{k} = load i64, ptr %length{k}.at, align 8",
            f"%whole{k} = icmp sge i64 %length{k}, %count{k}",
            f"br i1 %whole{k}, label %alone{k}, label %parts{k}", f"alone{k}:",
            f"call void @{c.function}(ptr %frame, ptr %block{k}, i64 0, i64 %count{k})",
            f"br label %launched{k}", f"parts{k}:", *_slot(f"pool{k}", POOL, "ptr"),
            *_slot(f"parallel{k}", PARALLEL_FOR, "ptr"),
            f"call void %parallel{k}(ptr %pool{k}, ptr @{c.function}, ptr %frame, ptr %block{k}, "
            f"i64 %count{k}, i64 %length{k})",
            f"br label %launched{k}", f"launched{k}:"]


def _array_slots(buffers: Sequence[Buffer], uses: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """Argument number of each feed and output -> the slots that want its address."""
    feeds = sum(b.role == "feed" for b in buffers)
    found: dict[int, list[int]] = {}
    for slot, number in uses:
        b = buffers[number]
        if b.role in ("feed", "output"):
            argument = 1 + b.index + (feeds if b.role == "output" else 0)
            found.setdefault(argument, []).append(slot)
    return found


def _data(name: str, array: str) -> list[str]:
    """The data pointer of a numpy array object."""
    return [f"%{name}.at = getelementptr i8, ptr {array}, i64 {ARRAY_DATA}",
            f"%{name} = load ptr, ptr %{name}.at, align 8"]


def _slot(name: str, slot: int, kind: str) -> list[str]:
    return [f"%{name}.slot = getelementptr i64, ptr %frame, i64 {slot}",
            f"%{name} = load {kind}, ptr %{name}.slot, align 8"]


def _copy(k: int, slot: int) -> list[str]:
    return [*_slot(f"from{k}", slot, "ptr"), *_slot(f"to{k}", slot + 1, "ptr"),
            *_slot(f"bytes{k}", slot + 2, "i64"),
            f"call void @llvm.memcpy.p0.p0.i64(ptr %to{k}, ptr %from{k}, i64 %bytes{k}, i1 false)"]
