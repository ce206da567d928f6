"""Loop nests in plain numpy: what GRAPHFLOW_JIT=0 runs. An innermost loop runs as one array expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Atom, single_atom
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.loops.interpret import Env, Fault, evaluate, evaluate_dim
from graphflow.compiler.loops.nest import (
    Let,
    Loop,
    LoopNest,
    Product,
    Stmt,
    Store,
    While,
    reduction_start,
)

Array = np.ndarray[Any, Any]
_COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
            "and": np.logical_and, "or": np.logical_or}


def run_nest(nest: LoopNest, buffers: Sequence[Array], symbols: Mapping[Atom, int]) -> list[Fault]:
    """Run a kernel on flat buffers, in place; gives the indices found out of range."""
    env = Env(buffers={p.name: b for p, b in zip(nest.params, buffers, strict=True)},
              atoms=dict(symbols))
    run_body(nest.body, env)
    return env.faults


def run_body(body: tuple[Stmt, ...], env: Env) -> None:
    """Run statements in an environment."""
    for stmt in body:
        if isinstance(stmt, Let):
            env.temps[stmt.name] = evaluate(stmt.value, env)
        elif isinstance(stmt, Store):
            _store(stmt, env)
        elif isinstance(stmt, Product):
            _product(stmt, env)
        elif isinstance(stmt, While):
            _repeat(stmt, env)
        elif stmt.ordered or any(isinstance(s, (Loop, Product)) for s in stmt.body):
            _one_by_one(stmt, env)
        else:
            _at_once(stmt, env)


def _store(s: Store, env: Env) -> None:
    buffer, at = env.buffers[s.buffer], np.asarray(evaluate_dim(s.offset, env))
    value = evaluate(s.value, env)
    if s.add:
        np.add.at(buffer, *np.broadcast_arrays(at, value))  # all lanes may add to one place
    else:
        buffer[at] = value


def _product(p: Product, env: Env) -> None:
    m, n, k = (evaluate_dim(d, env) for d in (p.m, p.n, p.k))
    a, b = _left(p, env, m, k), _right(p, env, n, k)
    a, b = a.astype(p.dtype.numpy), b.astype(p.dtype.numpy)
    if not p.body:
        out = _matrix(env, p.out, p.out_offset, m, n)
        out[...] = a @ b + (out if p.add else 0)
        return
    moving = False
    numbers = _row_numbers(p, np.arange(m).reshape(-1, 1))
    for index, number in (*numbers, (p.column, np.arange(n).reshape(1, -1))):
        found = single_atom(index)
        if found is not None:
            env.atoms[found], moving = number, True
    env.temps["sum"] = a @ b if moving else (a @ b).item()
    run_body(p.body, env)


def _right(p: Product, env: Env, n: int, k: int) -> Array:
    """B as a matrix [k, n], however it lies."""
    if isinstance(p.blocking, Blocking) and p.blocking.ahead:
        columns, group = p.blocking.columns, p.blocking.group
        count = -(-n // columns)
        panels = _matrix(env, p.b, p.b_offset, count * k, columns).reshape(count, -1, columns, group)
        rows: Array = panels.transpose(1, 3, 0, 2).reshape(k, -1)
        return rows[:, :n]
    return _matrix(env, p.b, p.b_offset, n, k).T if p.transpose_b else _matrix(env, p.b, p.b_offset, k, n)


def _left(p: Product, env: Env, m: int, k: int) -> Array:
    if p.view is not None:
        rows, along = p.view.rows.offset(np.arange(m)), p.view.along.offset(np.arange(k))
        return np.asarray(env.buffers[p.a][evaluate_dim(p.a_offset, env) + rows[:, None] + along])
    return _matrix(env, p.a, p.a_offset, k, m).T if p.transpose_a else _matrix(env, p.a, p.a_offset, m, k)


def _row_numbers(p: Product, row: Array) -> list[tuple[Any, Array]]:
    """The indices of the rows, and their numbers for each row."""
    if p.view is None:
        return [(p.row, row)]
    rows = p.view.rows
    return [*zip(p.lines, rows.digits(row // rows.length), strict=True), (p.row, row % rows.length)]


def _matrix(env: Env, buffer: str, offset: Any, rows: int, cols: int) -> Array:
    start = evaluate_dim(offset, env)
    return env.buffers[buffer][start:start + rows * cols].reshape(rows, cols)


def _repeat(s: While, env: Env) -> None:
    env.temps.update({v.name: evaluate(v.start, env) for v in s.variables})
    run_body(s.test, env)
    while evaluate(s.condition, env) and not env.faults:
        run_body(s.body, env)
        env.temps.update({v.name: evaluate(v.following, env) for v in s.variables})
        run_body(s.test, env)


def _one_by_one(loop: Loop, env: Env) -> None:
    totals: list[Any] = [None] * len(loop.accumulators)
    for i in range(evaluate_dim(loop.extent, env)):
        env.atoms[loop.axis] = i
        run_body(loop.body, env)
        for k, a in enumerate(loop.accumulators):
            value = evaluate(a.value, env)
            totals[k] = value if totals[k] is None else _COMBINE[a.combine](totals[k], value)
    _bind(loop, totals, env)


def _at_once(loop: Loop, env: Env) -> None:
    extent = evaluate_dim(loop.extent, env)
    env.atoms[loop.axis] = np.arange(extent)
    totals: list[Any] = [None] * len(loop.accumulators)
    if extent:
        run_body(loop.body, env)
        for k, a in enumerate(loop.accumulators):
            lanes = np.broadcast_to(evaluate(a.value, env), (extent,))
            totals[k] = _COMBINE[a.combine].reduce(lanes, dtype=lanes.dtype)
    _bind(loop, totals, env)


def _bind(loop: Loop, totals: Sequence[Any], env: Env) -> None:
    """A reduction over nothing gives the neutral element."""
    for a, total in zip(loop.accumulators, totals, strict=True):
        dtype = a.value.dtype
        start = reduction_start(a.combine, dtype).attr.value
        env.temps[a.name] = np.asarray(start if total is None else total, dtype.numpy)[()]
