"""The program's entry: one native function that runs every kernel.

Its C signature is that of a Python builtin, `PyObject *entry(PyObject *self, PyObject **args, Py_ssize_t n)`:
the frame array first, then the feed and the output arrays. It gives None, the frame after an error, or NULL
where a signal's handler has raised an exception.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.frame import (
    ARRAY_DATA,
    ERROR_CHECK,
    INTERRUPTED,
    PARALLEL_FOR,
    POOL,
    RELEASE_LOCK,
    THREAD_STATE,
    block_starts,
    range_slot,
    slots_of,
    time_slots,
    work_slot,
)
from graphflow.compiler.codegen.interrupt import INTERRUPTIONS, ITERATION_WORK
from graphflow.compiler.program import Action, Branch, Buffer, Call, Move, Program, Repeat, Run, moves

MOST_IN_LINE = 64  # addresses that the entry stores one by one, not in a loop over a table

# `reassoc` and the nan flags are nowhere: results are those of the expressions as written, but for sums of
# products, which `contract` adds unrounded
ATTRIBUTES = '''attributes #0 = { nounwind "prefer-vector-width"="512" }
attributes #1 = { nounwind alwaysinline "prefer-vector-width"="512" }
!0 = !{!"branch_weights", i32 1, i32 10000}
!1 = !{!"branch_weights", i32 10000, i32 1}
!2 = !{i32 1}'''


def emit_module(module: Module, kernels: Sequence[str], entry: str) -> str:
    """The whole module's text."""
    declarations = ["@_Py_NoneStruct = external global i8", "declare void @Py_IncRef(ptr)",
                    "declare ptr @PyEval_SaveThread()", "declare void @PyEval_RestoreThread(ptr)",
                    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"]
    launcher = [_launcher()] if "@launch(" in entry else []
    text = "\n".join([*declarations, module.text(), *kernels, *launcher, entry, ATTRIBUTES, ""])
    return text + INTERRUPTIONS if "@look(" in text or "@interrupted(" in text else text


def timed_module(program: Program, counter: str) -> str:
    """The program's IR with an entry that takes the time of each launch by an intrinsic.

    The frame has two more slots per launch at its end (`time_slots` says where): to these the entry adds
    the counter's ticks that a launch takes, and 1.
    """
    arguments = (program.entry, program.buffers, program.calls, program.steps, program.copies)
    plain, timed = emit_entry(*arguments), emit_entry(*arguments, counter)
    return f"{program.ir.replace(plain, timed)}\ndeclare i64 @{counter}()\n"


def emit_entry(name: str, buffers: Sequence[Buffer], calls: Sequence[Call], steps: Sequence[Action],
               copies: Sequence[tuple[int, int]], counter: str = "") -> str:
    """The entry's text. Each copy, made after all kernels, has slots from, to, bytes after the last block."""
    starts = block_starts(calls)
    walk = _Steps(buffers, calls, starts, steps, copies, counter)
    lines = [f"define ptr @{name}(ptr %self, ptr %args, i64 %n) #0 {{", "entry:",
             "%frame_object = load ptr, ptr %args, align 8", *_data("frame", "%frame_object"),
             *_slot("release", RELEASE_LOCK, "i64"), "%heavy = icmp ne i64 %release, 0",
             f"%error = getelementptr i64, ptr %frame, i64 {ERROR_CHECK}", "store i64 0, ptr %error, align 8"]
    pairs = _array_slots(buffers, slots_of(calls, steps, copies))
    lines += _fill_each(pairs) if len(pairs) <= MOST_IN_LINE else _fill_by_table(len(pairs))
    lines += ["br i1 %heavy, label %unlock, label %work", "unlock:", "%saved = call ptr @PyEval_SaveThread()",
              f"%state.at = getelementptr i64, ptr %frame, i64 {THREAD_STATE}",
              "store ptr %saved, ptr %state.at, align 8", "br label %work", "work:"]
    walk.emit(steps)
    lines += walk.lines
    for k in range(len(copies)):
        lines += _copy(k, starts[-1] + 3 * k)
    lines += ["br label %done", "done:", "br i1 %heavy, label %lock, label %end",
              "lock:", *_slot("state", THREAD_STATE, "ptr"),
              "call void @PyEval_RestoreThread(ptr %state)", "br label %end",
              "end:", "%code = load i64, ptr %error, align 8", "%fine = icmp eq i64 %code, 0",
              f"%raised = icmp eq i64 %code, {INTERRUPTED}",
              "%failed = select i1 %raised, ptr null, ptr %frame_object",
              "%result = select i1 %fine, ptr @_Py_NoneStruct, ptr %failed",
              "call void @Py_IncRef(ptr %result)", "ret ptr %result", "}"]
    return "\n".join(lines)


class _Steps:
    """The text of what the program does in order; moves and flags have their slots in the same order.

    may_stop  a signal may still end the run: nothing was written to a variable so far
    """

    def __init__(self, buffers: Sequence[Buffer], calls: Sequence[Call], starts: Sequence[int],
                 steps: Sequence[Action], copies: Sequence[tuple[int, int]], counter: str) -> None:
        self.buffers = buffers
        self.calls = calls
        self.starts = starts
        self.counter = counter
        self.may_stop = True
        self.depth = 0  # of the loops around
        self.last = steps[-1] if steps else None
        self.times = time_slots(calls, steps, copies)
        first_move = starts[-1] + 3 * len(copies)
        self.move_slots = itertools.count(first_move, 3)
        self.flag_slots = itertools.count(first_move + 3 * len(moves(steps)))
        self.lines: list[str] = []

    def emit(self, steps: Sequence[Action]) -> None:
        for s in steps:
            if isinstance(s, Run):
                self.run(s.call)
                self.look_after(s)
            elif isinstance(s, Move):
                slot = next(self.move_slots)
                self.lines += _copy(slot, slot)
            elif isinstance(s, Repeat):
                self.repeat(s)
            else:
                self.branch(s)

    def run(self, k: int) -> None:
        call = self.calls[k]
        launch = _launch(k, call)
        self.lines += [f"%block{k} = getelementptr i64, ptr %frame, i64 {self.starts[k]}",
                       *(_timed(k, launch, self.times + 2 * k, self.counter) if self.counter else launch)]
        if call.nest.may_stop:  # what failed must not reach a variable
            self.lines += [f"%failed{k} = load i64, ptr %error, align 8",
                           f"%go{k} = icmp eq i64 %failed{k}, 0",
                           f"br i1 %go{k}, label %next{k}, label %done, !prof !1", f"next{k}:"]

    def look_after(self, s: Run) -> None:
        """Look for signals after a launch that may be long; one of a loop is looked after by that."""
        call = self.calls[s.call]
        self.may_stop &= not _writes_state(call, self.buffers)
        if self.may_stop and call.nest.parallel and self.depth == 0 and s is not self.last:
            self.look(f"after{s.call}", [s.call], 0)

    def look(self, tag: str, launched: Sequence[int], work: int) -> None:
        """Leave the program when a signal's handler raises, once enough work has been done."""
        total = str(work)
        for k in launched:
            self.lines += [*_slot(f"work{k}", self.starts[k] + work_slot(self.calls[k]), "i64"),
                           f"%work{k}.sum = add i64 %work{k}, {total}"]
            total = f"%work{k}.sum"
        self.lines += [f"%stop.{tag} = call i1 @look(ptr %frame, i64 {total})",
                       f"br i1 %stop.{tag}, label %done, label %go.{tag}, !prof !0", f"go.{tag}:"]

    def repeat(self, s: Repeat) -> None:
        slot = next(self.flag_slots)
        self.lines += [f"br label %test{slot}", f"test{slot}:"]
        self.depth += 1
        self.emit(s.test)
        self.flag(slot, f"body{slot}", f"end{slot}")
        self.lines.append(f"body{slot}:")
        self.emit(s.body)
        self.depth -= 1
        self.look(f"loop{slot}", _launched((*s.test, *s.body)), ITERATION_WORK)
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


def _launched(steps: Sequence[Action]) -> list[int]:
    """The launches of these steps, but for those of loops among them."""
    found: list[int] = []
    for s in steps:
        if isinstance(s, Run):
            found.append(s.call)
        elif isinstance(s, Branch):
            found += _launched((*s.then, *s.otherwise))
    return found


def _launch(k: int, c: Call) -> list[str]:
    if not c.nest.parallel:
        return [f"call void @{c.function}(ptr %frame, ptr %block{k})"]
    return [f"call void @launch(ptr %frame, ptr %block{k}, i64 {range_slot(c)}, ptr @{c.function})"]


def _launcher() -> str:
    """Runs a kernel in one go, or its parts in the pool when there are several."""
    return "\n".join([
        "define internal void @launch(ptr %frame, ptr %block, i64 %range, ptr %kernel) noinline #0 {",
        "%count.at = getelementptr i64, ptr %block, i64 %range", "%count = load i64, ptr %count.at, align 8",
        "%length.at = getelementptr i64, ptr %count.at, i64 1", "%length = load i64, ptr %length.at, align 8",
        "%whole = icmp sge i64 %length, %count", "br i1 %whole, label %alone, label %parts",
        "alone:", "call void %kernel(ptr %frame, ptr %block, i64 0, i64 %count)", "ret void",
        "parts:", *_slot("pool", POOL, "ptr"), *_slot("parallel", PARALLEL_FOR, "ptr"),
        "call void %parallel(ptr %pool, ptr %kernel, ptr %frame, ptr %block, i64 %count, i64 %length)",
        "ret void", "}"])


def _timed(k: int, launch: list[str], slot: int, counter: str) -> list[str]:
    """The launch; its ticks, and 1, added to two slots."""
    return [f"%from{k}.tick = call i64 @{counter}()", *launch,
            f"%to{k}.tick = call i64 @{counter}()",
            f"%took{k} = sub i64 %to{k}.tick, %from{k}.tick",
            *_slot(f"ticks{k}", slot, "i64"), f"%ticks{k}.sum = add i64 %ticks{k}, %took{k}",
            f"store i64 %ticks{k}.sum, ptr %ticks{k}.slot, align 8",
            *_slot(f"times{k}", slot + 1, "i64"), f"%times{k}.sum = add i64 %times{k}, 1",
            f"store i64 %times{k}.sum, ptr %times{k}.slot, align 8"]


def _array_slots(buffers: Sequence[Buffer], uses: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(argument, slot) for each slot that wants the address of a feed or an output."""
    feeds = sum(b.role == "feed" for b in buffers)
    found = []
    for slot, number in uses:
        b = buffers[number]
        if b.role in ("feed", "output"):
            found.append((1 + b.index + (feeds if b.role == "output" else 0), slot))
    return found


def slot_table(buffers: Sequence[Buffer], calls: Sequence[Call], steps: Sequence[Action],
               copies: Sequence[tuple[int, int]]) -> str:
    """The pairs of argument and slot as a constant, for programs with many; LLVM is slow on long blocks."""
    pairs = _array_slots(buffers, slots_of(calls, steps, copies))
    if len(pairs) <= MOST_IN_LINE:
        return ""
    rows = ", ".join(f"[2 x i64] [i64 {k}, i64 {slot}]" for k, slot in pairs)
    return f"@slots = internal constant [{len(pairs)} x [2 x i64]] [{rows}]"


def _fill_each(pairs: Sequence[tuple[int, int]]) -> list[str]:
    lines = []
    for n, (k, slot) in enumerate(pairs):
        lines += _fill(f".{n}", str(k), str(slot))
    return [*lines, "br label %filled", "filled:"]


def _fill_by_table(count: int) -> list[str]:
    return ["br label %fill", "fill:", "%row = phi i64 [0, %entry], [%next, %fill]",
            "%k.at = getelementptr [2 x i64], ptr @slots, i64 %row", "%k = load i64, ptr %k.at, align 8",
            "%slot.at = getelementptr i64, ptr %k.at, i64 1", "%slot = load i64, ptr %slot.at, align 8",
            *_fill("", "%k", "%slot"), "%next = add nuw nsw i64 %row, 1",
            f"%more = icmp ult i64 %next, {count}", "br i1 %more, label %fill, label %filled", "filled:"]


def _fill(tag: str, argument: str, slot: str) -> list[str]:
    """Put the address of an argument's data into a slot."""
    return [f"%a{tag} = getelementptr ptr, ptr %args, i64 {argument}",
            f"%o{tag} = load ptr, ptr %a{tag}, align 8", *_data(f"d{tag}", f"%o{tag}"),
            f"%s{tag} = getelementptr i64, ptr %frame, i64 {slot}",
            f"store ptr %d{tag}, ptr %s{tag}, align 8"]


def _data(name: str, array: str) -> list[str]:
    """The data pointer of a numpy array object."""
    return [f"%{name}.at = getelementptr i8, ptr {array}, i64 {ARRAY_DATA}",
            f"%{name} = load ptr, ptr %{name}.at, align 8"]


def _slot(name: str, slot: int, kind: str) -> list[str]:
    return [f"%{name}.slot = getelementptr i64, ptr %frame, i64 {slot}",
            f"%{name} = load {kind}, ptr %{name}.slot, align 8"]


def _writes_state(c: Call, buffers: Sequence[Buffer]) -> bool:
    pairs = zip(c.nest.params, c.buffers, strict=True)
    return any(p.written and buffers[b].role == "state" for p, b in pairs)


def _copy(k: int, slot: int) -> list[str]:
    return [*_slot(f"from{k}", slot, "ptr"), *_slot(f"to{k}", slot + 1, "ptr"),
            *_slot(f"bytes{k}", slot + 2, "i64"),
            f"call void @llvm.memcpy.p0.p0.i64(ptr %to{k}, ptr %from{k}, i64 %bytes{k}, i1 false)"]
