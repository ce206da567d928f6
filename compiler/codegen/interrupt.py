"""Ctrl-C within a run: native code looks for signals now and then, and ends where a handler raises.

A look costs a function call, or, in a run that has released the interpreter lock, taking that back. So the
frame holds how much work may be done until the next one. Python's own handlers run, on the main thread alone.
What a look ends has written to no variable: see `Timeline.last_check`, and `_Steps.may_stop` in entry.
"""

from __future__ import annotations

from graphflow.compiler.codegen.frame import ERROR_CHECK, INTERRUPTED, THREAD_STATE, WORK_LEFT

WORK_BETWEEN_LOOKS = 1 << 32  # in additions of vector lanes: some 50 ms
ITERATION_WORK = 8000         # of an iteration besides its launches
TRIPS_BETWEEN_LOOKS = 1 << 14  # of a loop within a kernel

INTERRUPTIONS = f"""
define internal i1 @look(ptr %frame, i64 %work) noinline nounwind {{
  %left.at = getelementptr i64, ptr %frame, i64 {WORK_LEFT}
  %before = load i64, ptr %left.at, align 8
  %left = sub i64 %before, %work
  store i64 %left, ptr %left.at, align 8
  %enough = icmp sgt i64 %left, 0
  br i1 %enough, label %go, label %listen, !prof !1
go:
  ret i1 false
listen:
  store i64 {WORK_BETWEEN_LOOKS}, ptr %left.at, align 8
  %raised = call i1 @interrupted(ptr %frame)
  ret i1 %raised
}}
define internal i1 @interrupted(ptr %frame) noinline nounwind {{
  %state.at = getelementptr i64, ptr %frame, i64 {THREAD_STATE}
  %state = load ptr, ptr %state.at, align 8
  %locked = icmp eq ptr %state, null
  br i1 %locked, label %listen, label %lock
lock:
  call void @PyEval_RestoreThread(ptr %state)
  br label %listen
listen:
  %found = call i32 @PyErr_CheckSignals()
  %raised = icmp ne i32 %found, 0
  br i1 %raised, label %tell, label %told
tell:
  %error.at = getelementptr i64, ptr %frame, i64 {ERROR_CHECK}
  store i64 {INTERRUPTED}, ptr %error.at, align 8
  br label %told
told:
  br i1 %locked, label %end, label %unlock
unlock:
  %same = call ptr @PyEval_SaveThread()
  br label %end
end:
  ret i1 %raised
}}
declare i32 @PyErr_CheckSignals()
"""
