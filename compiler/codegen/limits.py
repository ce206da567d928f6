"""Kernels that reach a machine's limits, as LLVM IR text: multiply-adds in registers, and copies."""

from __future__ import annotations

LIMIT_KERNELS = "multiply_add", "copy", "stream", "tick"
_UNROLL = 4
COPY_STEP = 64  # f32: what any vector width copies at a time divides it
_CHAINS = 12  # more than the latency of a multiply-add times how many a core starts at once
_STEPS = 16   # multiply-adds of each chain per iteration


def tick_counter(machine: str) -> str:
    """The intrinsic for a counter of constant rate that programs may read."""
    return "llvm.readcyclecounter" if machine == "x86_64" else "llvm.readsteadycounter"


def limits_ir(vector_bits: int, counter: str) -> str:
    """The module; `counter` is the name of an intrinsic.

    void @multiply_add(ptr frame, ptr block, i64 begin, i64 end)   `flops_each` operations per iteration
    void @copy(ptr frame, ptr block, i64 begin, i64 end)           copies within these regions of memory; the
        block has its address (of a cache line), the f32 copied in a region (of twice that; whole steps),
        and how often
    void @stream(...)                                              the same past the caches
    i64 @tick()                                                    the counter that times launches
    """
    lanes = vector_bits // 32
    return "\n".join([_multiply_add(lanes), _copy("copy", lanes, ""),
                      _copy("stream", lanes, ", !nontemporal !0"), _TICK.replace("$counter", counter), ""])


def flops_each(vector_bits: int) -> int:
    """The operations of an iteration of `multiply_add`."""
    return 2 * _CHAINS * _STEPS * (vector_bits // 32)


def _multiply_add(lanes: int) -> str:
    v = f"<{lanes} x float>"
    half = "splat (float 0.5)"
    starts = [f"%x{c}.0 = phi {v} [zeroinitializer, %entry], [%x{c}.{_STEPS}, %loop]" for c in range(_CHAINS)]
    steps = [f"%x{c}.{k + 1} = call {v} @llvm.fma.v{lanes}f32({v} %x{c}.{k}, {v} {half}, {v} {half})"
             for k in range(_STEPS) for c in range(_CHAINS)]
    results = [f"store volatile {v} %x{c}.{_STEPS}, ptr %sink, align 64" for c in range(_CHAINS)]
    return "\n".join([
        "define internal void @multiply_add(ptr %frame, ptr %block, i64 %begin, i64 %end) #0 {", "entry:",
        f"%sink = alloca {v}, align 64", "br label %loop", "loop:",
        "%i = phi i64 [%begin, %entry], [%i1, %loop]", *starts, *steps,
        "%i1 = add i64 %i, 1", "%more = icmp slt i64 %i1, %end", "br i1 %more, label %loop, label %done",
        "done:", *results, "ret void", "}", f"declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})"])


def _copy(name: str, lanes: int, hint: str) -> str:
    v = f"<{lanes} x float>"
    moves = []
    for k in range(_UNROLL):
        moves += [f"%at{k} = add i64 %i, {k * lanes}",
                  f"%from{k} = getelementptr float, ptr %source, i64 %at{k}",
                  f"%x{k} = load {v}, ptr %from{k}, align 4",
                  f"%to{k} = getelementptr float, ptr %target, i64 %at{k}",
                  f"store {v} %x{k}, ptr %to{k}, align {4 * lanes}{hint}"]
    text = _COPY.replace("$name", name).replace("$step", str(_UNROLL * lanes))
    return text.replace("$moves", "\n".join(moves))


_COPY = """define internal void @$name(ptr %frame, ptr %block, i64 %begin, i64 %end) #0 {
entry:
  %all = load ptr, ptr %block, align 8
  %size.at = getelementptr i64, ptr %block, i64 1
  %size = load i64, ptr %size.at, align 8
  %times.at = getelementptr i64, ptr %block, i64 2
  %times = load i64, ptr %times.at, align 8
  br label %region
region:
  %r = phi i64 [%begin, %entry], [%r1, %next]
  %twice = mul i64 %size, 2
  %start = mul i64 %r, %twice
  %source = getelementptr float, ptr %all, i64 %start
  %target = getelementptr float, ptr %source, i64 %size
  br label %again
again:
  %t = phi i64 [0, %region], [%t1, %done]
  br label %loop
loop:
  %i = phi i64 [0, %again], [%i1, %loop]
  $moves
  %i1 = add i64 %i, $step
  %more = icmp slt i64 %i1, %size
  br i1 %more, label %loop, label %done
done:
  %t1 = add i64 %t, 1
  %repeat = icmp slt i64 %t1, %times
  br i1 %repeat, label %again, label %next
next:
  %r1 = add i64 %r, 1
  %others = icmp slt i64 %r1, %end
  br i1 %others, label %region, label %end.all
end.all:
  ret void
}"""

_TICK = """define internal i64 @tick() {
%now = call i64 @$counter()
ret i64 %now
}
declare i64 @$counter()
attributes #0 = { nounwind "prefer-vector-width"="512" }
!0 = !{i32 1}"""
