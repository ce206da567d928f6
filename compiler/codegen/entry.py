"""The program's entry: one native function that runs every kernel.

Its C signature is that of a Python builtin, `PyObject *entry(PyObject *self, PyObject **args, Py_ssize_t n)`: the
frame array first, then the feed arrays, then the output arrays. It gives None, or the frame after an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.frame import ERROR_CHECK, FIRST_SYMBOL, RELEASE_LOCK
from graphflow.compiler.ir.dims import Atom
from graphflow.compiler.program import Buffer, Call

ARRAY_DATA = 16  # bytes into a numpy array object (after the object header) where its data pointer lies

# `contract`, `reassoc` and the nan flags are nowhere: results are those of the expressions as written
ATTRIBUTES = '''attributes #0 = { nounwind "prefer-vector-width"="512" }
attributes #1 = { nounwind alwaysinline "prefer-vector-width"="512" }
!0 = !{!"branch_weights", i32 1, i32 10000}'''


def emit_module(module: Module, kernels: Sequence[str], entry: str) -> str:
    """The whole module's text."""
    declarations = ["@_Py_NoneStruct = external global i8", "declare void @Py_IncRef(ptr)",
                    "declare ptr @PyEval_SaveThread()", "declare void @PyEval_RestoreThread(ptr)"]
    return "\n".join([*declarations, module.text(), *kernels, entry, ATTRIBUTES, ""])


def emit_entry(name: str, buffers: Sequence[Buffer], symbols: Sequence[Atom], calls: Sequence[Call],
               copies: Sequence[tuple[int, int]]) -> str:
    """`copies` are (from, to) buffers of equal size, copied after all kernels."""
    lines = [f"define ptr @{name}(ptr %self, ptr %args, i64 %n) #0 {{", "entry:",
             "%frame_object = load ptr, ptr %args, align 8", *_data("frame", "%frame_object"),
             *_slot("release", RELEASE_LOCK, "i64"), "%heavy = icmp ne i64 %release, 0",
             f"%error = getelementptr i64, ptr %frame, i64 {ERROR_CHECK}", "store i64 0, ptr %error, align 8"]
    for k, b in enumerate(buffers):
        if b.role in ("feed", "output"):
            position = b.index + 1 if b.role == "feed" else b.index + 1 + _feeds(buffers)
            lines += [f"%a{k} = getelementptr ptr, ptr %args, i64 {position}",
                      f"%o{k} = load ptr, ptr %a{k}, align 8", *_data(f"b{k}", f"%o{k}")]
        else:
            lines += _slot(f"b{k}", FIRST_SYMBOL + len(symbols) + k, "ptr")
    for k in range(len(symbols)):
        lines += _slot(f"s{k}", FIRST_SYMBOL + k, "i64")
    lines += ["br i1 %heavy, label %unlock, label %work", "unlock:", "%saved = call ptr @PyEval_SaveThread()",
              "br label %work", "work:", "%state = phi ptr [null, %entry], [%saved, %unlock]"]
    lines += [_call(c, symbols) for c in calls]
    for k, (source, target) in enumerate(copies):
        lines += [*_slot(f"bytes{k}", FIRST_SYMBOL + len(symbols) + len(buffers) + k, "i64"),
                  f"call void @llvm.memcpy.p0.p0.i64(ptr %b{target}, ptr %b{source}, i64 %bytes{k}, i1 false)"]
    lines += ["br i1 %heavy, label %lock, label %end", "lock:", "call void @PyEval_RestoreThread(ptr %state)",
              "br label %end", "end:", "%code = load i64, ptr %error, align 8", "%fine = icmp eq i64 %code, 0",
              "%result = select i1 %fine, ptr @_Py_NoneStruct, ptr %frame_object",
              "call void @Py_IncRef(ptr %result)", "ret ptr %result", "}"]
    if copies:
        lines.append("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    return "\n".join(lines)


def _feeds(buffers: Sequence[Buffer]) -> int:
    return sum(b.role == "feed" for b in buffers)


def _data(name: str, array: str) -> list[str]:
    """The data pointer of a numpy array object."""
    return [f"%{name}.at = getelementptr i8, ptr {array}, i64 {ARRAY_DATA}",
            f"%{name} = load ptr, ptr %{name}.at, align 8"]


def _slot(name: str, slot: int, kind: str) -> list[str]:
    return [f"%{name}.slot = getelementptr i64, ptr %frame, i64 {slot}",
            f"%{name} = load {kind}, ptr %{name}.slot, align 8"]


def _call(c: Call, symbols: Sequence[Atom]) -> str:
    where = {a: k for k, a in enumerate(symbols)}
    args = ["ptr %frame", *(f"ptr %b{b}" for b in c.buffers), *(f"i64 %s{where[a]}" for a in c.symbols),
            f"i64 {c.check}"]
    return f"call void @{c.function}({', '.join(args)})"
