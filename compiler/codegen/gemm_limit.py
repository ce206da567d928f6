"""Matrix products by a BLAS library on few threads, as LLVM IR text.

A BLAS with its own threads has one setting for the whole process. It is the user's, so a limited product
saves it, sets the limit, and puts it back; of products that overlap the first saves, the last puts it back.

The module's externals are the library's `graphflow_blas_get`, `_set`, `_float` and `_double`, and the shared
`graphflow_blas_state`: three i32, a lock, the number of products at work, the saved setting.
"""

from __future__ import annotations

STATE_WORDS = 3
GET, SET, STATE = "graphflow_blas_get", "graphflow_blas_set", "graphflow_blas_state"
LIMITED = ("limited_float", "limited_double")  # the functions that the module defines


def routine_name(kind: str) -> str:
    """The external name of cblas_?gemm for "float" or "double"."""
    return f"graphflow_blas_{kind}"


def gemm_limit_ir(threads: int) -> str:
    """Functions with the signature of cblas_?gemm (64-bit integers) that use at most so many threads."""
    functions = [_product(kind, threads) for kind in ("float", "double")]
    return "\n".join([_SHARED, *functions, ""])


def _product(kind: str, threads: int) -> str:
    types = ["i32"] * 3 + ["i64"] * 3 + [kind, "ptr", "i64", "ptr", "i64", kind, "ptr", "i64"]
    arguments = ", ".join(f"{t} %a{k}" for k, t in enumerate(types))
    return f"""
declare void @{routine_name(kind)}({", ".join(types)})
define void @limited_{kind}({arguments}) nounwind {{
  call void @limit(i32 {threads})
  call void @{routine_name(kind)}({arguments})
  call void @restore()
  ret void
}}"""


_SHARED = """
@graphflow_blas_state = external global [3 x i32]
declare i32 @graphflow_blas_get()
declare void @graphflow_blas_set(i32)
declare i32 @llvm.smin.i32(i32, i32)
define internal void @lock() nounwind {
entry:
  br label %try
try:
  %pair = cmpxchg ptr @graphflow_blas_state, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %pair, 1
  br i1 %ours, label %end, label %try
end:
  ret void
}
define internal void @limit(i32 %threads) nounwind {
entry:
  call void @lock()
  %users.at = getelementptr i32, ptr @graphflow_blas_state, i64 1
  %users = load i32, ptr %users.at, align 4
  %more = add i32 %users, 1
  store i32 %more, ptr %users.at, align 4
  %first = icmp eq i32 %users, 0
  br i1 %first, label %set, label %end
set:
  %saved = call i32 @graphflow_blas_get()
  %saved.at = getelementptr i32, ptr @graphflow_blas_state, i64 2
  store i32 %saved, ptr %saved.at, align 4
  %few = call i32 @llvm.smin.i32(i32 %saved, i32 %threads)
  call void @graphflow_blas_set(i32 %few)
  br label %end
end:
  store atomic i32 0, ptr @graphflow_blas_state release, align 4
  ret void
}
define internal void @restore() nounwind {
entry:
  call void @lock()
  %users.at = getelementptr i32, ptr @graphflow_blas_state, i64 1
  %users = load i32, ptr %users.at, align 4
  %less = sub i32 %users, 1
  store i32 %less, ptr %users.at, align 4
  %last = icmp eq i32 %less, 0
  br i1 %last, label %set, label %end
set:
  %saved.at = getelementptr i32, ptr @graphflow_blas_state, i64 2
  %saved = load i32, ptr %saved.at, align 4
  call void @graphflow_blas_set(i32 %saved)
  br label %end
end:
  store atomic i32 0, ptr @graphflow_blas_state release, align 4
  ret void
}
"""
