"""Tuning: with GRAPHFLOW_TUNE=1, matrix products get the blocking that is fastest when measured here.

The first compilation of a product times a few; the winner is kept in the cache, for later processes that tune
too. Others keep to estimates, so that their results do not depend on what ran before. So do products of what
is held between runs: its panels are made ahead.
"""

from __future__ import annotations

import ctypes
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.codegen.gemm.choose import Extents
from graphflow.compiler.codegen.gemm.costs import LEAST_SHARED
from graphflow.compiler.codegen.gemm.product import known
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.codegen.gemm.trial import candidates, trial_ir
from graphflow.compiler.ir.dtypes import BY_CODE
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.loops.nest import Product, statements
from graphflow.compiler.program import Program
from graphflow.compiler.target import Target
from graphflow.runtime import cache, cpu, jit, objects
from graphflow.runtime.pages import aligned_empty

_Table = dict[Extents, Blocking]
_ROUNDS = 7
_SECONDS = 2e-3  # of one measurement, at least
_GAIN = 0.97     # of the time that the estimated best takes: noise alone does not change a choice


def compile_tuned(compile: Callable[[Target], Program], key: str | None) -> Program:
    """What `compile` gives once the products of the program are measured.

    It is told of these products alone, so that what else was measured changes nothing.

    key  of what is compiled, under which its products are kept for `tuned_key`
    """
    program = compile(cpu.host_target())
    products = tuple(dict.fromkeys(_products(program)))
    if not products:
        return program
    table = _table()
    new = [e for e in products if e not in table]
    for e in new:
        table[e] = _fastest(e)
    if new:
        _keep(table)
    if key is not None:
        _keep_products(key, products)
    return compile(replace(cpu.host_target(), tuned=tuple((e, table[e]) for e in products)))


def tuned_key(key: str) -> str:
    """The key of a program under what was measured of its products, those that are known under `key`."""
    table = _table()
    return cache.key_of("tuned", key, str([(e, table.get(e)) for e in _known_products(key)]))


def _products(program: Program) -> Iterator[Extents]:
    """Products by register tiles, of known sizes, whose operands come in each run."""
    for nest in (call.nest for call in program.calls):
        dtypes = {p.name: p.dtype for p in nest.params}
        for s in (s for s in statements(nest.body) if isinstance(s, Product)):
            terms, size = Terms(dtypes[s.a], dtypes[s.b], s.dtype), s.m * s.n * s.k
            e = Extents(terms, known(s.m), known(s.n), known(s.k), s.transpose_a, s.transpose_b, s.view)
            worth = isinstance(size, int) and size >= LEAST_SHARED
            if worth and e.is_plain and isinstance(s.blocking, Blocking) and not s.blocking.ahead:
                yield e


def _fastest(e: Extents) -> Blocking:
    """Of the candidates, which take turns."""
    forms = candidates(e, cpu.host_target())
    ir, names = trial_ir(e, forms)
    assert e.m is not None and e.n is not None and e.k is not None
    sizes = e.m * e.k, e.k * e.n, e.m * e.n, max(f.scratch for f in forms)
    memory = [aligned_empty((size,), e.terms.sum.numpy) for size in sizes]
    for array in memory:
        array[:] = 1
    block = np.array([*(array.ctypes.data for array in memory), 0], np.int64)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    runs = [functools.partial(call(at), None, block.ctypes.data) for at in jit.function_addresses(ir, names)]
    rounds = [[_time(run) for run in runs] for _ in range(_ROUNDS)]
    times = [min(each) for each in zip(*rounds, strict=True)]
    best = min(range(len(forms)), key=times.__getitem__)
    return forms[best] if times[best] < _GAIN * times[0] else forms[0]


def _time(run: Callable[[], None]) -> float:
    """Of one call, of as many as take long enough."""
    calls, spent, start = 0, 0.0, time.thread_time()
    while calls == 0 or spent < _SECONDS:
        run()
        calls += 1
        spent = time.thread_time() - start
    return spent / calls


# What was measured, by the folder of the cache

def _table() -> _Table:
    return _loaded(flags.cache_folder())


@functools.lru_cache(maxsize=8)
def _loaded(folder: str) -> _Table:
    try:
        return {_extents(row): Blocking(**form) for row, form in _read(_key())}
    except (ValueError, TypeError, KeyError):
        return {}


def _keep(table: _Table) -> None:
    _write(_key(), [(_row(e), {f.name: getattr(form, f.name) for f in fields(form) if f.name != "parts"})
                    for e, form in table.items()])  # the cut into parts is anew for each number of threads


def _known_products(key: str) -> list[Extents]:
    try:
        return [_extents(row) for row in _read(_key(key))]
    except (ValueError, TypeError, KeyError):
        return []


def _keep_products(key: str, products: Sequence[Extents]) -> None:
    _write(_key(key), [_row(e) for e in products])


def _row(e: Extents) -> tuple[Any, ...]:
    return e.terms.code, e.m, e.n, e.k, e.transpose_a, e.transpose_b


def _extents(row: Sequence[Any]) -> Extents:
    code, *sizes = row
    return Extents(Terms(*(BY_CODE[code],) * 3), *sizes)


def _read(key: str) -> Any:
    kept = cache.current()
    return json.loads((kept.read(key) if kept is not None else None) or b"[]")


def _write(key: str, rows: Sequence[Any]) -> None:
    kept = cache.current()
    if kept is not None:
        kept.write(key, json.dumps(rows).encode())


def _key(program: str = "") -> str:
    """Of all products measured, or of those of a program."""
    return cache.key_of("products", objects.version(), cpu.target(), str(cpu.host_target()), program)
