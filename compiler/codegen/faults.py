"""What a kernel tells of a check that failed: of all parts that find fault, the first one's first."""

from __future__ import annotations

from graphflow.compiler.codegen.frame import ERROR_CHECK, ERROR_EXTENT, ERROR_INDEX, ERROR_LOCK, ERROR_PART

# parts run at the same time: one at a time tells, and an earlier part has the last word
REPORT = f"""
define internal void @report(ptr %frame, i64 %part, i64 %check, i64 %index, i64 %extent)
    noinline cold nounwind {{
entry:
  %lock = getelementptr i64, ptr %frame, i64 {ERROR_LOCK}
  %check.at = getelementptr i64, ptr %frame, i64 {ERROR_CHECK}
  %part.at = getelementptr i64, ptr %frame, i64 {ERROR_PART}
  %index.at = getelementptr i64, ptr %frame, i64 {ERROR_INDEX}
  %extent.at = getelementptr i64, ptr %frame, i64 {ERROR_EXTENT}
  br label %ask
ask:
  %pair = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic
  %ours = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %ours, label %look, label %ask
look:
  %told = load i64, ptr %check.at, align 8
  %none = icmp eq i64 %told, 0
  %by = load i64, ptr %part.at, align 8
  %earlier = icmp slt i64 %part, %by
  %tell = or i1 %none, %earlier
  br i1 %tell, label %write, label %end
write:
  store i64 %check, ptr %check.at, align 8
  store i64 %part, ptr %part.at, align 8
  store i64 %index, ptr %index.at, align 8
  store i64 %extent, ptr %extent.at, align 8
  br label %end
end:
  store atomic i64 0, ptr %lock release, align 8
  ret void
}}"""
