"""Every op: importing this module fills the REGISTRY."""

from __future__ import annotations

from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ops import (  # noqa: F401
    activations,
    bits,
    blocks,
    broadcasting,
    control,
    convolution,
    core,
    elementwise,
    equations,
    gamma,
    gathering,
    images,
    indexing,
    joining,
    linalg,
    logic,
    mathematics,
    nn,
    normalization,
    phases,
    pooling,
    random,
    reductions,
    resampling,
    rows,
    sampling,
    scans,
    sequences,
    shapes,
    sorting,
    tables,
    window_products,
    windows,
    winograd,
    winograd_gradient,
)

BUILT_IN: frozenset[OpDef] = frozenset(REGISTRY.values())
