"""Train a classifier on scikit-learn's 1,797 hand-written digits, then compare compiled and eager mode.

    pip install "graphflow[examples]" && python examples/digits_mlp.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

import graphflow as tf

HIDDEN = (128, 64)
BATCH = 50


def load(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images scaled to [0, 1] and labels, shuffled; the last fifth is held back for the test."""
    digits = load_digits()
    order = np.random.RandomState(seed).permutation(len(digits.target))
    images, labels = digits.data[order].astype(np.float32) / 16, digits.target[order].astype(np.int64)
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def dense(x: tf.Tensor, units: int, name: str) -> tf.Tensor:
    """x @ weights + bias"""
    with tf.variable_scope(name):
        weights = tf.get_variable("weights", [x.shape[1], units], initializer=tf.glorot_uniform_initializer())
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        return tf.matmul(x, weights) + bias


def build(learning_rate: float) -> dict[str, tf.Tensor]:
    """The whole graph, defined before anything runs."""
    images = tf.placeholder(tf.float32, [None, 64], name="images")
    labels = tf.placeholder(tf.int64, [None], name="labels")
    x = images
    for k, units in enumerate(HIDDEN):
        x = tf.nn.relu(dense(x, units, f"hidden{k}"))
    logits = dense(x, 10, "logits")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    loss = tf.reduce_mean(losses, name="loss")
    correct = tf.equal(tf.argmax(logits, 1), labels)
    accuracy = tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy")
    train = tf.train.AdamOptimizer(learning_rate).minimize(loss)
    return {"images": images, "labels": labels, "loss": loss, "accuracy": accuracy, "train": train}


def run_epoch(sess: tf.Session, net: dict[str, tf.Tensor], images: np.ndarray, labels: np.ndarray,
              rng: np.random.RandomState) -> float:
    """One pass over the data in random batches; gives the mean loss."""
    order = rng.permutation(len(labels))
    losses = []
    for start in range(0, len(labels), BATCH):
        batch = order[start:start + BATCH]
        feeds = {net["images"]: images[batch], net["labels"]: labels[batch]}
        loss, _ = sess.run([net["loss"], net["train"]], feeds)
        losses.append(loss)
    return float(np.mean(losses))


def main() -> float:
    """Train, print a line per epoch and the comparison; gives the accuracy on the held-back fifth."""
    parser = argparse.ArgumentParser(description="Train a digit classifier; compare compiled and eager mode.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tf.set_random_seed(args.seed)
    images, labels, test_images, test_labels = load(args.seed)
    net = build(args.learning_rate)
    test = {net["images"]: test_images, net["labels"]: test_labels}
    rng = np.random.RandomState(args.seed)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for epoch in range(1, args.epochs + 1):
            start = time.perf_counter()
            loss = run_epoch(sess, net, images, labels, rng)
            seconds = time.perf_counter() - start
            accuracy = sess.run(net["accuracy"], test)
            print(f"epoch {epoch:2}/{args.epochs}  loss {loss:.4f}  test accuracy {accuracy:6.2%}  "
                  f"{1e3 * seconds:5.1f} ms", flush=True)
        batch = {net["images"]: images[:BATCH], net["labels"]: labels[:BATCH]}
        print("\nOne training step, compiled and eager:")
        print(tf.compare([net["loss"], net["train"]], batch))
    return float(accuracy)


if __name__ == "__main__":
    main()
