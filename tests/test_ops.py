"""Every op record, by its own samples."""

from __future__ import annotations

import pytest

import graphflow.compiler.ops.catalog  # noqa: F401
from graphflow import testing
from graphflow.compiler.ir.opdef import REGISTRY

TESTED = [op for op in REGISTRY.values() if op.samples]
UNTESTED = {op.name for op in REGISTRY.values() if not op.samples}


@pytest.mark.parametrize("opdef", TESTED, ids=lambda op: op.name)
@pytest.mark.parametrize("check", [testing.check_value, testing.check_unknown_dims, testing.check_lowering,
                                   testing.check_gradients], ids=lambda c: c.__name__[6:])
def test_samples(opdef, check):
    for sample in opdef.samples:
        check(opdef, sample)


def test_only_ops_with_effects_have_no_samples():
    assert all(REGISTRY[name].effect or name in ("constant", "placeholder_with_default") for name in UNTESTED)
