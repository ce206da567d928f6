"""word2vec: rows of a large table are read and updated; the rest must not be touched."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, labels, normal


@dataclasses.dataclass(frozen=True)
class Word2Vec(Workload):
    """word2vec: 50,000 x 128, batch 128, sampled softmax of 64, SGD step

    The sampled classes are given, so that all frameworks compute the same; drawing them is not measured.
    """

    words: int = 50_000
    width: int = 128
    batch: int = 128
    sampled: int = 64
    key: ClassVar[str] = "word2vec"
    mode: ClassVar[str] = "sgd"
    sparse: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"words": 200, "width": 8, "batch": 10, "sampled": 6}
    skips: ClassVar[dict[str, str]] = {"torch.compile": "it makes the gradients of the tables dense"}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params = {"embedding": normal(rng, self.words, self.width),
                  "w": normal(rng, self.words, self.width, scale=self.width ** -0.5),
                  "b": np.zeros(self.words, np.float32)}
        negatives = rng.choice(self.words, self.sampled, replace=False).astype(np.int32)
        expected = np.log1p(1 / (negatives + 1.0)) / np.log(self.words + 1.0)
        y = labels(rng, self.batch, self.words)
        likely = np.log1p(1 / (y + 1.0)) / np.log(self.words + 1.0)
        return params, {"x": labels(rng, self.batch, self.words), "y": y, "negatives": negatives,
                        "expected": (self.sampled * expected).astype(np.float32),
                        "likely": (self.sampled * likely).astype(np.float32)}

    def moved(self, p: Arrays, d: Arrays) -> float:
        rows = 2 * self.batch + self.sampled
        return 8.0 * rows * self.width

    def flops(self) -> float:
        return 6.0 * self.batch * (self.sampled + 1) * self.width

    def loss(self, rows: Values, d: Values, log: Any, concat: Any, cross_entropy: Any) -> Any:
        """Of rows already gathered, in any framework. Source: Jean et al. 2015

        A sampled class that is the label itself does not count.
        """
        truth = (rows.x * rows.true_w).sum(1) + rows.true_b - log(d.likely)
        hits = (d.y[:, None] == d.negatives[None, :]) * 1e9
        others = rows.x @ rows.other_w.T + rows.other_b - log(d.expected) - hits
        return cross_entropy(concat(truth[:, None], others))

    def gathered(self, p: Values, d: Values) -> Values:
        return Values(x=p.embedding[d.x], true_w=p.w[d.y], true_b=p.b[d.y], other_w=p.w[d.negatives],
                      other_b=p.b[d.negatives])

    def reference(self, p: Values, d: Values) -> Any:
        rows = self.gathered(p, d)
        truth = (rows.x * rows.true_w).sum(1, True) + rows.true_b.reshape(-1, 1) - np.log(d.likely)[:, None]
        hits = (d.y[:, None] == d.negatives[None, :]) * 1e9
        others = rows.x @ rows.other_w.transpose(1, 0) + rows.other_b - np.log(d.expected) - hits
        top = np.maximum(truth.value[:, 0], others.value.max(1))[:, None]
        total = tape.exp(truth - top) + tape.exp(others - top).sum(1, True)
        return (tape.log(total) + top - truth).mean()

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        x = tf.nn.embedding_lookup(p.embedding, d.x)
        drawn = (tf.cast(d.negatives, tf.int64), tf.expand_dims(d.likely, 1), d.expected)
        return tf.reduce_mean(tf.nn.sampled_softmax_loss(
            weights=p.w, biases=p.b, labels=tf.cast(tf.expand_dims(d.y, 1), tf.int64), inputs=x,
            num_sampled=self.sampled, num_classes=self.words, sampled_values=drawn))

    def jax(self, p: Values, d: Values) -> Any:
        return self.jax_loss(self.gathered(p, d), d)

    def jax_loss(self, rows: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        return self.loss(rows, d, jnp.log, lambda a, b: jnp.concatenate([a, b], 1),
                         lambda z: -jax.nn.log_softmax(z)[:, 0].mean())

    def jax_step(self, p: Values, d: Values, rate: Any) -> Any:
        """Gradients of the rows, added where they belong: those of the tables would be dense."""
        import jax

        loss, g = jax.value_and_grad(lambda rows: self.jax_loss(Values(rows), d))(dict(self.gathered(p, d)))
        return loss, {"embedding": p.embedding.at[d.x].add(-rate * g["x"]),
                      "w": p.w.at[d.y].add(-rate * g["true_w"]).at[d.negatives].add(-rate * g["other_w"]),
                      "b": p.b.at[d.y].add(-rate * g["true_b"]).at[d.negatives].add(-rate * g["other_b"])}

    def torch(self, p: Values, d: Values) -> Any:
        import torch
        from torch.nn import functional as F

        def rows(table: Any, ids: Any) -> Any:
            return F.embedding(ids, table, sparse=True)

        gathered = Values(x=rows(p.embedding, d.x), true_w=rows(p.w, d.y), true_b=p.b[d.y],
                          other_w=rows(p.w, d.negatives), other_b=p.b[d.negatives])
        return self.loss(gathered, d, torch.log, lambda a, b: torch.cat([a, b], 1),
                         lambda z: -torch.log_softmax(z, 1)[:, 0].mean())

    def pytensor(self, p: Values, d: Values) -> Any:
        return self.pytensor_loss(self.gathered(p, d), d)

    def pytensor_step(self, p: Values, d: Values, rate: Any) -> Any:
        """As for JAX: the loss, and updates of the rows."""
        import pytensor
        import pytensor.tensor as pt

        rows = self.gathered(p, d)
        loss = self.pytensor_loss(rows, d)
        g = Values(zip(rows, pytensor.grad(loss, list(rows.values())), strict=True))
        w = pt.inc_subtensor(p.w[d.y], -rate * g.true_w)
        b = pt.inc_subtensor(p.b[d.y], -rate * g.true_b)
        return loss, [(p.embedding, pt.inc_subtensor(p.embedding[d.x], -rate * g.x)),
                      (p.w, pt.inc_subtensor(w[d.negatives], -rate * g.other_w)),
                      (p.b, pt.inc_subtensor(b[d.negatives], -rate * g.other_b))]

    def pytensor_loss(self, rows: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        truth = (rows.x * rows.true_w).sum(axis=1) + rows.true_b - pt.log(d.likely)
        hits = pt.eq(d.y[:, None], d.negatives[None, :]).astype("float32") * np.float32(1e9)
        others = rows.x @ rows.other_w.T + rows.other_b - pt.log(d.expected) - hits
        scores = pt.special.log_softmax(pt.concatenate([truth[:, None], others], axis=1), axis=1)
        return -pt.mean(scores[:, 0])
