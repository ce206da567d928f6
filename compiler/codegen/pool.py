"""The thread pool as LLVM IR text: `parallel_for`, and what the workers run.

One job at a time. The caller publishes it, takes part in it, and is done when no worker is inside any more.
It never waits for one to come: with the workers gone, as after a fork, a pool is slow and not stuck.

Memory of a pool, each line written by few:

    line 0  generation (i32), sleepers (i32), workers (i64), stop (i64), spins (i64)
    line 1  state (i32), busy (i32), and the job: function, frame, block, count, chunk, chunks
    line 2  the chunks taken from the front, and (in the low half) from the back
    line 3  a mutex and a condition variable, where there is no futex

The caller takes chunks from the front and the workers from the back, so that a core finds in its cache what
it touched when the job ran before. `generation` changes with each job. `state` is one word, so that a worker
enters in one atomic step and only while the job is open: 16 bits count the workers inside, 15 the seats left;
the top one says that the caller sleeps.
"""

from __future__ import annotations

LINE = 128  # bytes: CPUs fetch cache lines in pairs
POOL_BYTES = 4 * LINE
WORKERS, SPINS = 1, 3  # i64 slots that the maker of a pool fills in
MUTEX, CONDITION = 3 * LINE, 3 * LINE + 64  # room for the largest pthread types
MOST_HELPERS = 0x7FFF

PARALLEL_FOR, WORKER, STOP, SPIN, TOUCH = POOL_FUNCTIONS = (
    "parallel_for", "pool_worker", "pool_stop", "pool_spin", "pool_touch")

_FIELDS = {"generation": 0, "sleepers": 4, "workers": 8 * WORKERS, "stop": 16, "spins": 8 * SPINS,
           "state": LINE, "busy": LINE + 4, "function": LINE + 8, "frame": LINE + 16, "block": LINE + 24,
           "count": LINE + 32, "chunk": LINE + 40, "chunks": LINE + 48, "next": 2 * LINE,
           "mutex": MUTEX, "condition": CONDITION}
_PAUSES = {"x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
           "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)")}
_FUTEX_CALLS = {"x86_64": 202, "aarch64": 98}


def pool_ir(machine: str, has_futex: bool) -> str:
    """The pool's module.

    void @parallel_for(ptr handle, ptr function, ptr frame, ptr block, i64 count, i64 chunk)
        calls function(frame, block, begin, end) for [0, count) cut at multiples of chunk, each piece once, on
        this thread and the pool's; in order on this thread alone when handle is null, and when the pool has
        no workers or is busy. A handle is two words: a pool's address and how many workers may help.
    ptr @pool_worker(ptr pool)      what a worker runs until the pool stops
    void @pool_stop(ptr pool)       sends the workers home; later jobs run on their callers
    i1 @pool_spin(ptr pool, ptr word, i32 seen)     waits a little for a word to change; whether it did
    void @pool_touch(ptr pieces, i64 count)     brings in the pages of memory, whose bytes stay as they are;
        a piece is two words: where it starts and where it ends

    machine    "x86_64", "aarch64", or any other
    has_futex  whether the system has Linux's futex; else threads sleep on a pthread condition
    """
    number = _FUTEX_CALLS.get(machine) if has_futex else None
    sleep = _FUTEX.replace("$futex", str(number)) if number else _CONDITION
    declaration, pause = _PAUSES.get(machine, ("", ""))
    functions = "".join([_PARALLEL_FOR, _PIECE, _CHUNKS, _CALLER_WAITS, _WORKER, _STOP, _SPIN, _TOUCH, sleep])
    return _with_addresses(functions.replace("$pause", pause)) + declaration + "\n"


def _with_addresses(text: str) -> str:
    """`%x = $field` gives the address of a field of %pool."""
    for name in sorted(_FIELDS, key=len, reverse=True):
        text = text.replace(f"${name}", f"getelementptr i8, ptr %pool, i64 {_FIELDS[name]}")
    return text


_PARALLEL_FOR = """
define internal void @parallel_for(ptr %handle, ptr %function, ptr %frame, ptr %block, i64 %count, i64 %asked)
    nounwind {
entry:
  %chunk = call i64 @llvm.smax.i64(i64 %asked, i64 1)
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %some, label %end
some:
  %last = sub i64 %count, 1
  %more = udiv i64 %last, %chunk
  %chunks = add i64 %more, 1
  %alone = icmp eq ptr %handle, null
  br i1 %alone, label %serial, label %look
look:
  %pool = load ptr, ptr %handle, align 8
  %allowed.at = getelementptr i64, ptr %handle, i64 1
  %allowed = load i64, ptr %allowed.at, align 8
  %workers.at = $workers
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %most = call i64 @llvm.smin.i64(i64 %allowed, i64 %workers)
  %helpers = call i64 @llvm.smin.i64(i64 %most, i64 %more)
  %shared = icmp sgt i64 %helpers, 0
  br i1 %shared, label %claim, label %serial
claim:
  %busy = $busy
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %pair, 1
  br i1 %ours, label %publish, label %serial
publish:
  %function.at = $function
  store ptr %function, ptr %function.at, align 8
  %frame.at = $frame
  store ptr %frame, ptr %frame.at, align 8
  %block.at = $block
  store ptr %block, ptr %block.at, align 8
  %count.at = $count
  store i64 %count, ptr %count.at, align 8
  %chunk.at = $chunk
  store i64 %chunk, ptr %chunk.at, align 8
  %chunks.at = $chunks
  store i64 %chunks, ptr %chunks.at, align 8
  %next = $next
  store atomic i64 0, ptr %next monotonic, align 8
  %few = trunc i64 %helpers to i32
  %seats = shl i32 %few, 16
  %state = $state
  store atomic i32 %seats, ptr %state release, align 4
  %generation = $generation
  %0 = atomicrmw add ptr %generation, i32 1 seq_cst
  %sleepers.at = $sleepers
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %crew = trunc i64 %workers to i32
  %awake = sub i32 %crew, %sleepers
  %missing = sub i32 %few, %awake
  %rouse = icmp sgt i32 %missing, 0
  br i1 %rouse, label %wake, label %work
wake:
  call void @wake(ptr %pool, ptr %generation, i32 %missing)
  br label %work
work:
  call void @chunks(ptr %pool, i64 4294967296)
  %before = atomicrmw and ptr %state, i32 65535 acquire
  %inside = and i32 %before, 65535
  %done = icmp eq i32 %inside, 0
  br i1 %done, label %free, label %wait
wait:
  call void @caller_waits(ptr %pool)
  br label %free
free:
  store atomic i32 0, ptr %busy release, align 4
  br label %end
serial:
  %k = phi i64 [0, %some], [0, %look], [0, %claim], [%k1, %serial]
  call void @piece(ptr %function, ptr %frame, ptr %block, i64 %count, i64 %chunk, i64 %k)
  %k1 = add i64 %k, 1
  %again = icmp slt i64 %k1, %chunks
  br i1 %again, label %serial, label %end
end:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
"""

_PIECE = """
define internal void @piece(ptr %function, ptr %frame, ptr %block, i64 %count, i64 %chunk, i64 %k)
    alwaysinline nounwind {
  %begin = mul i64 %k, %chunk
  %left = sub i64 %count, %begin
  %size = call i64 @llvm.smin.i64(i64 %left, i64 %chunk)
  %end = add i64 %begin, %size
  call void %function(ptr %frame, ptr %block, i64 %begin, i64 %end)
  ret void
}
"""

_CHUNKS = """
define internal void @chunks(ptr %pool, i64 %step) nounwind {
entry:
  %function.at = $function
  %function = load ptr, ptr %function.at, align 8
  %frame.at = $frame
  %frame = load ptr, ptr %frame.at, align 8
  %block.at = $block
  %block = load ptr, ptr %block.at, align 8
  %count.at = $count
  %count = load i64, ptr %count.at, align 8
  %chunk.at = $chunk
  %chunk = load i64, ptr %chunk.at, align 8
  %chunks.at = $chunks
  %chunks = load i64, ptr %chunks.at, align 8
  %next = $next
  %last = sub i64 %chunks, 1
  %from_back = icmp eq i64 %step, 1
  br label %claim
claim:
  %taken = atomicrmw add ptr %next, i64 %step monotonic
  %front = lshr i64 %taken, 32
  %back = and i64 %taken, 4294967295
  %both = add i64 %front, %back
  %left = icmp slt i64 %both, %chunks
  br i1 %left, label %run, label %end
run:
  %behind = sub i64 %last, %back
  %k = select i1 %from_back, i64 %behind, i64 %front
  call void @piece(ptr %function, ptr %frame, ptr %block, i64 %count, i64 %chunk, i64 %k)
  br label %claim
end:
  ret void
}
"""

_CALLER_WAITS = """
define internal void @caller_waits(ptr %pool) nounwind {
entry:
  %state = $state
  br label %look
look:
  %now = load atomic i32, ptr %state acquire, align 4
  %inside = and i32 %now, 65535
  %none = icmp eq i32 %inside, 0
  br i1 %none, label %done, label %linger
linger:
  %changed = call i1 @pool_spin(ptr %pool, ptr %state, i32 %now)
  br i1 %changed, label %look, label %tell
tell:
  %before = atomicrmw or ptr %state, i32 -2147483648 acquire
  %still = and i32 %before, 65535
  %empty = icmp eq i32 %still, 0
  br i1 %empty, label %done, label %rest
rest:
  %told = or i32 %before, -2147483648
  call void @sleep(ptr %pool, ptr %state, i32 %told)
  br label %look
done:
  store atomic i32 0, ptr %state monotonic, align 4
  ret void
}
"""

_WORKER = """
define internal ptr @pool_worker(ptr %pool) nounwind {
entry:
  %generation = $generation
  %state = $state
  %sleepers = $sleepers
  %stop.at = $stop
  br label %new
new:
  %seen = load atomic i32, ptr %generation acquire, align 4
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %leave = icmp ne i64 %stop, 0
  br i1 %leave, label %end, label %look
look:
  %now = load atomic i32, ptr %state acquire, align 4
  %seats = and i32 %now, 2147418112
  %open = icmp ne i32 %seats, 0
  br i1 %open, label %enter, label %linger
enter:
  %entered = sub i32 %now, 65535
  %pair = cmpxchg ptr %state, i32 %now, i32 %entered acquire monotonic
  %in = extractvalue { i32, i1 } %pair, 1
  br i1 %in, label %work, label %look
work:
  call void @chunks(ptr %pool, i64 1)
  %before = atomicrmw sub ptr %state, i32 1 release
  %awaited = icmp eq i32 %before, -2147483647
  br i1 %awaited, label %wake, label %linger
wake:
  call void @wake(ptr %pool, ptr %state, i32 1)
  br label %linger
linger:
  %changed = call i1 @pool_spin(ptr %pool, ptr %generation, i32 %seen)
  br i1 %changed, label %new, label %rest
rest:
  %0 = atomicrmw add ptr %sleepers, i32 1 seq_cst
  call void @sleep(ptr %pool, ptr %generation, i32 %seen)
  %1 = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %new
end:
  ret ptr null
}
"""

_STOP = """
define internal void @pool_stop(ptr %pool) nounwind {
  %workers = $workers
  store atomic i64 0, ptr %workers monotonic, align 8
  %stop = $stop
  store atomic i64 1, ptr %stop release, align 8
  %generation = $generation
  %1 = atomicrmw add ptr %generation, i32 1 seq_cst
  call void @wake(ptr %pool, ptr %generation, i32 2147483647)
  ret void
}
"""

_SPIN = """
define internal i1 @pool_spin(ptr %pool, ptr %word, i32 %seen) nounwind {
entry:
  %spins.at = $spins
  %spins = load i64, ptr %spins.at, align 8
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %pause]
  %now = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %now, %seen
  %enough = icmp sge i64 %k, %spins
  %out = or i1 %changed, %enough
  br i1 %out, label %end, label %pause
pause:
  $pause
  %k1 = add i64 %k, 1
  br label %look
end:
  ret i1 %changed
}
"""

# an exchange that changes nothing is a write all the same; other threads may write the bytes meanwhile
_TOUCH = """
define internal void @pool_touch(ptr %pieces, i64 %count) nounwind {
entry:
  br label %piece
piece:
  %k = phi i64 [0, %entry], [%k1, %look], [%k1, %page]
  %k1 = add i64 %k, 1
  %some = icmp slt i64 %k, %count
  br i1 %some, label %look, label %end
look:
  %piece.at = getelementptr [2 x ptr], ptr %pieces, i64 %k
  %to.at = getelementptr [2 x ptr], ptr %pieces, i64 %k, i64 1
  %from = load ptr, ptr %piece.at, align 8
  %to = load ptr, ptr %to.at, align 8
  %any = icmp ult ptr %from, %to
  br i1 %any, label %page, label %piece
page:
  %at = phi ptr [%from, %look], [%next, %page]
  %pair = cmpxchg ptr %at, i8 0, i8 0 monotonic monotonic
  %next = getelementptr i8, ptr %at, i64 4096
  %again = icmp ult ptr %next, %to
  br i1 %again, label %page, label %piece
end:
  ret void
}
"""

# 128 and 129 are FUTEX_WAIT and FUTEX_WAKE between threads of one process
_FUTEX = """
define internal void @sleep(ptr %pool, ptr %word, i32 %seen) nounwind {
  %value = zext i32 %seen to i64
  %1 = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i64 128, i64 %value, ptr null, ptr null, i64 0)
  ret void
}
define internal void @wake(ptr %pool, ptr %word, i32 %count) nounwind {
  %most = zext i32 %count to i64
  %1 = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i64 129, i64 %most, ptr null, ptr null, i64 0)
  ret void
}
declare i64 @syscall(i64, ...)
"""

# the waker takes the mutex too: else it might signal between the sleeper's look and its wait
_CONDITION = """
define internal void @sleep(ptr %pool, ptr %word, i32 %seen) nounwind {
entry:
  %mutex = $mutex
  %condition = $condition
  %0 = call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %seen
  br i1 %same, label %rest, label %end
rest:
  %1 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
end:
  %2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @wake(ptr %pool, ptr %word, i32 %count) nounwind {
  %mutex = $mutex
  %condition = $condition
  %1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %3 = call i32 @pthread_cond_broadcast(ptr %condition)
  ret void
}
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
"""
