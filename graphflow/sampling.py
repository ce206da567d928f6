"""Losses on sampled classes, and the samplers: what word2vec is trained with. TF1's signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.arrays import broadcast_to, concat, expand_dims, ones_like, range_, reshape, shape, zeros_like
from graphflow.basics import name_scope, stop_gradient
from graphflow.compiler.errors import InvalidArgumentError, ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import float32, int64
from graphflow.compiler.ir.graph import get_default_graph
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import logic, mathematics, sampling
from graphflow.compiler.ops import nn as records
from graphflow.compiler.ops.random import seed_pair
from graphflow.embedding import embedding_lookup
from graphflow.math import cast, matmul, reduce_any, reduce_sum

__all__ = ["all_candidate_sampler", "compute_accidental_hits", "fixed_unigram_candidate_sampler",
           "log_uniform_candidate_sampler", "nce_loss", "sampled_softmax_loss", "uniform_candidate_sampler"]
_LOWEST = float(np.finfo(np.float32).min)


class Candidates(NamedTuple):
    """Sampled classes [num_sampled], and how often the true [batch, num_true] and the sampled classes are
    expected among them."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


# Samplers


def log_uniform_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool,
                                  range_max: int, seed: int | None = None,
                                  name: str | None = None) -> Candidates:
    """Classes c of [0, range_max) with P(c) = log((c + 2) / (c + 1)) / log(range_max + 1).

    Small numbers are frequent: classes are to be sorted by falling frequency (Zipf's law).
    Shapes:  true_classes int64 [batch, num_true] -> int64 [num_sampled], [batch, num_true], [num_sampled]
    With `unique` classes are drawn until num_sampled different ones are found. The expected count of a class
    is then 1 - (1 - P)^draws, else P * num_sampled.
    Raises:  InvalidArgumentError when `unique` asks for more classes than there are
    """
    def probability(classes: Tensor) -> Tensor:
        share: Tensor = mathematics.log1p(1.0 / (cast(classes, float32) + 1.0))
        return share / float(np.log(range_max + 1.0))

    with name_scope(name, "LogUniformCandidateSampler", [true_classes]):
        return _sample("log_uniform", true_classes, num_true, num_sampled, unique, range_max, seed,
                       probability)


def uniform_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool,
                              range_max: int, seed: int | None = None,
                              name: str | None = None) -> Candidates:
    """Classes of [0, range_max), all equally frequent; see log_uniform_candidate_sampler."""
    def probability(classes: Tensor) -> Tensor:
        return ones_like(classes, float32) / float(range_max)

    with name_scope(name, "UniformCandidateSampler", [true_classes]):
        return _sample("uniform", true_classes, num_true, num_sampled, unique, range_max, seed, probability)


def fixed_unigram_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool,
                                    range_max: int, vocab_file: str = "", distortion: float = 1.0,
                                    num_reserved_ids: int = 0, num_shards: int = 1, shard: int = 0,
                                    unigrams: Sequence[float] = (), seed: int | None = None,
                                    name: str | None = None) -> Candidates:
    """Classes with P(c) in proportion to unigrams[c - num_reserved_ids]^distortion; reserved ones never come.

    The weights are given, or read from the last column of a comma separated file. With shards, only classes
    c with c % num_shards == shard are drawn. See log_uniform_candidate_sampler for the results.
    Raises:  ValueError when there are not range_max classes, or not enough that may come
    """
    if bool(vocab_file) == bool(len(unigrams)):
        raise ValueError("fixed_unigram_candidate_sampler: give one of vocab_file and unigrams")
    weights = np.array(_column(vocab_file) if vocab_file else unigrams, np.float64) ** distortion
    weights = np.concatenate([np.zeros(num_reserved_ids), weights])
    weights[np.arange(len(weights)) % num_shards != shard] = 0
    if len(weights) != range_max:
        raise ValueError(f"fixed_unigram_candidate_sampler: {len(weights)} classes, but range_max is "
                         f"{range_max}")
    possible = np.count_nonzero(weights > 0)
    enough = possible >= (num_sampled if unique else 1)
    if not enough or weights.min() < 0 or not np.isfinite(weights).all():
        raise ValueError(f"fixed_unigram_candidate_sampler: {num_sampled} classes cannot be drawn from "
                         f"{possible} with a positive weight")
    shares = weights / weights.sum()

    def probability(classes: Tensor) -> Tensor:
        return embedding_lookup(as_tensor(shares.astype(np.float32)), classes)

    with name_scope(name, "FixedUnigramCandidateSampler", [true_classes]):
        sums = np.minimum(np.cumsum(shares), 1.0)
        sums[np.flatnonzero(shares)[-1]:] = 1.0  # rounding must not leave room for a class that never comes
        return _sample("table", true_classes, num_true, num_sampled, unique, range_max, seed, probability,
                       as_tensor(sums))


def _column(vocab_file: str) -> list[float]:
    import csv

    with open(vocab_file, newline="") as lines:
        return [float(row[-1]) for row in csv.reader(lines) if row]


def all_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool,
                          seed: int | None = None, name: str | None = None) -> Candidates:
    """All classes of [0, num_sampled), each expected once."""
    with name_scope(name, "AllCandidateSampler", [true_classes]):
        sampled = range_(num_sampled, dtype=int64)
        return Candidates(sampled, ones_like(as_tensor(true_classes), float32), ones_like(sampled, float32))


def _sample(how: str, true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
            seed: int | None, probability: Any, *table: Tensor) -> Candidates:
    true = _true_classes(true_classes, num_true)
    if num_sampled < 1 or range_max < 1 or (unique and num_sampled > range_max):
        kind = "different " if unique else ""
        raise InvalidArgumentError(None, None, f"{how} sampler: {num_sampled} {kind}classes of {range_max} "
                                               f"cannot be drawn")
    graph = get_default_graph()
    drawn: Tensor = sampling.candidate_sampler(
        true, *table, num_sampled=int(num_sampled), range_max=int(range_max), how=how, unique=bool(unique),
        seed=seed_pair(graph, seed), stream=len(graph.operations))
    sampled, tries = drawn[:num_sampled], cast(drawn[num_sampled], float32)

    def expected(classes: Tensor) -> Tensor:
        p = probability(classes)
        once: Tensor = -mathematics.expm1(tries * mathematics.log1p(-p))
        result: Tensor = logic.where_v2(logic.equal(tries, float(num_sampled)), p * float(num_sampled), once)
        return result

    return Candidates(sampled, expected(true), expected(sampled))


def _true_classes(true_classes: Any, num_true: int) -> Tensor:
    true = cast(as_tensor(true_classes), int64)
    if not true.shape.is_compatible_with([None, num_true]):
        raise ShapeError(f"true classes must have the shape [batch, {num_true}] (num_true = {num_true}), but "
                         f"{as_tensor(true_classes).name} is {true.type}")
    return true


def compute_accidental_hits(true_classes: Any, sampled_candidates: Any, num_true: int,
                            seed: int | None = None,
                            name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Which sampled classes are true classes: rows and positions, and the weight to add to their logits.

    Shapes:  three tensors [batch * num_true * num_sampled]. All pairs are there, those that are no hits with
             weight 0: how many there are would depend on values. TensorFlow gives the hits alone.
    """
    with name_scope(name, "ComputeAccidentalHits", [true_classes, sampled_candidates]):
        true, sampled = _true_classes(true_classes, num_true), as_tensor(sampled_candidates)
        hit = logic.equal(expand_dims(true, -1), reshape(sampled, [1, 1, -1]))
        size = shape(hit)
        rows = broadcast_to(reshape(range_(size[0]), [-1, 1, 1]), size)
        places = broadcast_to(reshape(range_(size[2], dtype=int64), [1, 1, -1]), size)
        weights = logic.where_v2(hit, as_tensor(_LOWEST), as_tensor(0.0))
        return reshape(rows, [-1]), reshape(places, [-1]), reshape(weights, [-1])


# Losses


def nce_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int,
             num_true: int = 1, sampled_values: Any = None, remove_accidental_hits: bool = False,
             partition_strategy: str = "mod", name: str = "nce_loss") -> Tensor:
    """Noise-contrastive estimation: sigmoid cross entropy of true classes against sampled ones, per row.

    Shapes:  weights [classes, dim] (or a list of tables, see embedding_lookup), biases [classes],
             labels [batch, num_true], inputs [batch, dim] -> [batch]
    Source:  Gutmann and Hyvärinen 2010
    """
    with name_scope(name, "nce_loss", [biases, labels, inputs]):
        logits, targets = _sampled_logits(
            "nce_loss", weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
            remove_accidental_hits, partition_strategy, None)
        losses = records.sigmoid_cross_entropy_with_logits(targets, logits)
        return reduce_sum(losses, 1)


def sampled_softmax_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int,
                         num_classes: int, num_true: int = 1, sampled_values: Any = None,
                         remove_accidental_hits: bool = True, partition_strategy: str = "mod",
                         name: str = "sampled_softmax_loss", seed: int | None = None) -> Tensor:
    """Softmax cross entropy over the true classes of a row and sampled ones; for training alone.

    Shapes:  as nce_loss
    Source:  Jean et al. 2014
    """
    with name_scope(name, "sampled_softmax_loss", [biases, labels, inputs]):
        logits, targets = _sampled_logits(
            "sampled_softmax_loss", weights, biases, labels, inputs, num_sampled, num_classes, num_true,
            sampled_values, remove_accidental_hits, partition_strategy, seed)
        result: Tensor = records.softmax_cross_entropy_with_logits(stop_gradient(targets), logits)
        return result


def _sampled_logits(function: str, weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int,
                    num_classes: int, num_true: int, sampled_values: Any, remove_hits: bool, strategy: str,
                    seed: int | None) -> tuple[Tensor, Tensor]:
    """Logits [batch, num_true + num_sampled], less the logarithms of expected counts, and their targets."""
    x, true = as_tensor(inputs), as_tensor(labels)
    if not true.dtype.is_integer or not x.dtype.is_floating:
        raise ShapeError(f"{function}: labels are integers and inputs floats, but {true.name} is {true.type} "
                         f"and {x.name} is {x.type}\nhint: the order is weights, biases, labels, inputs")
    true = _true_classes(true, num_true)
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(true, num_true, num_sampled, True, num_classes, seed)
    sampled, true_counts, counts = (stop_gradient(as_tensor(v)) for v in sampled_values)
    sampled = cast(sampled, int64)
    of_true, of_sampled = (_rows(weights, biases, ids, strategy) for ids in (reshape(true, [-1]), sampled))
    rows = reshape(of_true[0], [-1, num_true, of_true[0].type.dims[-1]])  # type: ignore[index]
    true_logits = reduce_sum(expand_dims(x, 1) * rows, 2) + reshape(of_true[1], [-1, num_true])
    logits = matmul(x, of_sampled[0], transpose_b=True) + of_sampled[1]
    if remove_hits:
        hit = reduce_any(logic.equal(expand_dims(true, 2), reshape(sampled, [1, 1, -1])), 1)
        logits = logic.where_v2(hit, as_tensor(_LOWEST, logits.dtype), logits)
    true_logits -= mathematics.log(cast(true_counts, x.dtype))
    logits -= mathematics.log(cast(counts, x.dtype))
    targets = concat([ones_like(true_logits) / float(num_true), zeros_like(logits)], 1)
    return concat([true_logits, logits], 1), targets


def _rows(weights: Any, biases: Any, ids: Tensor, strategy: str) -> tuple[Tensor, Tensor]:
    return embedding_lookup(weights, ids, strategy), embedding_lookup(biases, ids, strategy)
