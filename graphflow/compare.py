"""compare: the compiled program against eager mode, side by side."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.records import record
from graphflow.fetches import plan_fetches
from graphflow.runtime.executable import Executable
from graphflow.runtime.feeds import convert_feed
from graphflow.runtime.report import bytes_text, time_text
from graphflow.session import Session, get_default_session

_RUNS = 5


@record
class Difference:
    """How far a fetch's compiled value is from its eager one.

    Units:  the relative error is in parts of the fetch's largest number, the ulp are those of that number:
            where one value is 0 and the other nearly so, numbers of their own would say nothing
    """

    name: str
    type: str
    max_absolute: float
    max_relative: float
    max_ulp: float


@record
class Comparison:
    """What `compare` found. `str` of it is a table.

    Units:  seconds (median of a few runs, compilation apart), bytes (the most alive at once, feeds and
            variables not counted)
    """

    differences: tuple[Difference, ...]
    compiled_seconds: float
    eager_seconds: float
    compile_seconds: float
    compiled_bytes: int
    eager_bytes: int
    kernels: int
    operations: int

    @property
    def max_absolute(self) -> float:
        return max((d.max_absolute for d in self.differences), default=0.0)

    @property
    def speedup(self) -> float:
        return self.eager_seconds / self.compiled_seconds

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        values = Table("fetch", "type", "max abs error", "max rel error", "max ulp")
        for d in self.differences:
            values.add_row(d.name, d.type,
                           *(f"{x:.3g}" for x in (d.max_absolute, d.max_relative, d.max_ulp)))
        ways = Table("", "compiled", "eager", "eager / compiled")
        ways.add_row("time", time_text(self.compiled_seconds), time_text(self.eager_seconds),
                     f"{self.speedup:.2f}")
        ways.add_row("peak memory", bytes_text(self.compiled_bytes), bytes_text(self.eager_bytes),
                     f"{self.eager_bytes / max(self.compiled_bytes, 1):.2f}")
        ways.add_row("steps", f"{self.kernels} kernels", f"{self.operations} ops",
                     f"{self.operations / max(self.kernels, 1):.2f}")
        console = Console(file=io.StringIO(), width=110, force_terminal=False)
        console.print(values, ways, f"compiled once, in {time_text(self.compile_seconds)}")
        text: str = console.file.getvalue().rstrip()  # type: ignore[attr-defined]
        return text


def compare(fetches: Any, feed_dict: Mapping[Any, Any] | None = None,
            session: Session | None = None) -> Comparison:
    """Run `fetches` compiled and eagerly (the oracle, op by op), from the same variables and random numbers.

    The variables are as before afterwards. `session` is the default one if not given.
    """
    from graphflow.runtime.eager import run_eagerly

    session = session or get_default_session()
    if session is None:
        raise ValueError("compare() needs a session: pass session= or call it inside `with tf.Session():`")
    feed_dict = feed_dict or {}
    plan = plan_fetches(session.graph, fetches)
    feeds = [session.graph.as_graph_element(k, allow_operation=False) for k in feed_dict]
    arrays = [convert_feed(v, t) for v, t in zip(feed_dict.values(), feeds, strict=True)]
    engine = session.engine
    eager = run_eagerly(plan.tensors, plan.targets, feeds, arrays, engine.store, engine.peek_key())
    executable = engine.prepare(plan.tensors, plan.targets, feeds)
    with engine.store.restored(eager.updates):
        values, seconds = _run_compiled(executable, arrays)
    figures = executable.figures(arrays)
    return Comparison(tuple(map(_difference, plan.tensors, values, eager.values)), seconds, eager.seconds,
                      executable.compile_seconds, figures.peak_bytes, eager.peak_bytes, figures.kernels,
                      figures.ops)


def _run_compiled(executable: Executable, arrays: Sequence[Any]) -> tuple[list[Any], float]:
    """The values of the first run, and the median seconds of later ones."""
    values = executable(*arrays)
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        executable(*arrays)
        times.append(time.perf_counter() - start)
    return values, float(np.median(times))


def _difference(t: Tensor, value: Any, expected: Any) -> Difference:
    a, b = np.asarray(value).astype(np.float64), np.asarray(expected).astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    most = float(np.max(error, initial=0.0))
    sizes = np.abs(np.concatenate([a.ravel(), b.ravel()]))
    scale = float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
    return Difference(t.name, str(t.type), most, most / scale if scale else most,
                      most / _unit(scale, t))


def _unit(number: float, t: Tensor) -> float:
    """The distance to the next number of the tensor's dtype."""
    if not t.dtype.is_floating:
        return 1.0
    import ml_dtypes

    kind = ml_dtypes.finfo(t.dtype.numpy)
    _, exponent = math.frexp(max(number, float(kind.tiny)))
    return math.ldexp(float(kind.eps), exponent - 1)
