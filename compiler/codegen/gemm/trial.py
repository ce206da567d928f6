"""Trials: blockings that may suit a product better than the one estimated to be best, as kernels to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.entry import ATTRIBUTES
from graphflow.compiler.codegen.gemm.choose import Extents, choose, likely_tiles
from graphflow.compiler.codegen.gemm.costs import DEPTH
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.loops.nest import LoopNest, Param, Product
from graphflow.compiler.target import Target

TILES = 3  # kinds of register tiles that are tried


def candidates(e: Extents, target: Target) -> list[Blocking]:
    """The blocking that is estimated best, and others; none where register tiles are out of the question."""
    first = choose(e, replace(target, threads=1, tuned=()))
    if not isinstance(first, Blocking) or not e.is_plain:
        return []
    found = [first]
    for rows, vecs in likely_tiles(e, target)[:TILES]:
        panels = -(-first.panels * first.columns // (vecs * first.width))
        tile = replace(first, rows=rows, vecs=vecs, panels=panels)
        tile = replace(tile, tiles=max(1, first.tiles * first.rows // rows))
        found += [tile, replace(tile, depth=max(8, tile.depth // 2)), replace(tile, pack_a=not tile.pack_a),
                  replace(tile, pack_b=not tile.pack_b or e.transpose_b)]
    return [f for f in dict.fromkeys(found) if f.depth <= DEPTH[e.size]]


def trial_ir(e: Extents, forms: Sequence[Blocking]) -> tuple[str, list[str]]:
    """A module with a kernel per form, and their names.

    Each is `void(ptr frame, ptr block)`, the block the addresses of a, b, out and scratch, and a 0.
    """
    assert e.m is not None and e.n is not None and e.k is not None
    module, names = Module(), [f"k{i}" for i in range(len(forms))]
    params = tuple(Param(f"p{i}", e.terms.sum, i > 1) for i in range(4))
    texts = []
    for name, form in zip(names, forms, strict=True):
        p = Product("p2", "p0", "p1", 0, 0, 0, e.m, e.n, e.k, e.transpose_a, e.transpose_b, e.terms.sum, form,
                    "p3")
        texts.append(emit_kernel(LoopNest(params, (), (p,), (), form.width), name, module))
    return "\n".join([module.text(), *texts, ATTRIBUTES, ""]), names
