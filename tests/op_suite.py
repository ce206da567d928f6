"""Independent numpy definitions of composites that have none of their own."""

from __future__ import annotations

import numpy as np
from scipy import special


def _picked(scores, labels):
    return np.take_along_axis(scores, labels[..., None].astype(np.int64), axis=-1)[..., 0]


def _in_top_k(predictions, targets, k):
    own = predictions[np.arange(len(targets)), targets]
    return (np.sum(predictions > own[:, None], axis=1) < k) & np.isfinite(own)


def _l2_normalize(x, axis=None, epsilon=1e-12):
    return x / np.sqrt(np.maximum(np.sum(x * x, axis=axis, keepdims=True), epsilon))


REFERENCES = {
    "softmax": lambda x, axis=-1: special.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: special.log_softmax(x, axis),
    "softmax_cross_entropy_with_logits": lambda z, x: -np.sum(z * special.log_softmax(x, -1), -1),
    "sparse_softmax_cross_entropy_with_logits": lambda z, x: -_picked(special.log_softmax(x, -1), z),
    "sigmoid_cross_entropy_with_logits": lambda z, x: z * np.logaddexp(0, -x) + (1 - z) * np.logaddexp(0, x),
    "in_top_k": _in_top_k,
    "l2_normalize": _l2_normalize,
}
