"""Train a small convolutional network, after LeNet, on scikit-learn's 1,797 hand-written digits.

    pip install "graphflow[examples]" && python examples/digits_cnn.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

import graphflow as tf

BATCH = 50


def load(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images [n, 8, 8, 1] scaled to [0, 1] and labels, shuffled; the last fifth is held back for the test."""
    digits = load_digits()
    order = np.random.RandomState(seed).permutation(len(digits.target))
    images, labels = digits.images[order, :, :, None].astype(np.float32) / 16, digits.target[order]
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def conv(x: tf.Tensor, size: int, channels: int, name: str) -> tf.Tensor:
    """A convolution over size x size pixels with bias and relu, then a maximum over each 2 x 2 pixels."""
    with tf.variable_scope(name):
        filters = tf.get_variable("filters", [size, size, x.shape[3], channels],
                                  initializer=tf.glorot_uniform_initializer())
        bias = tf.get_variable("bias", [channels], initializer=tf.zeros_initializer())
        y = tf.nn.conv2d(x, filters, strides=[1, 1, 1, 1], padding="SAME")
        y = tf.nn.relu(tf.nn.bias_add(y, bias))
        return tf.nn.max_pool(y, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def dense(x: tf.Tensor, units: int, name: str) -> tf.Tensor:
    """x @ weights + bias"""
    with tf.variable_scope(name):
        weights = tf.get_variable("weights", [x.shape[1], units], initializer=tf.glorot_uniform_initializer())
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        return tf.nn.xw_plus_b(x, weights, bias)


def build(learning_rate: float) -> dict[str, tf.Tensor]:
    """The whole graph, defined before anything runs."""
    images = tf.placeholder(tf.float32, [None, 8, 8, 1], name="images")
    labels = tf.placeholder(tf.int64, [None], name="labels")
    keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")
    x = conv(conv(images, 3, 32, "conv1"), 3, 64, "conv2")
    x = tf.reshape(x, [-1, 2 * 2 * 64])
    x = tf.nn.dropout(tf.nn.relu(dense(x, 128, "hidden")), keep_prob)
    logits = dense(x, 10, "logits")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    loss = tf.reduce_mean(losses, name="loss")
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32), name="accuracy")
    train = tf.train.AdamOptimizer(learning_rate).minimize(loss)
    return {"images": images, "labels": labels, "keep_prob": keep_prob, "loss": loss, "accuracy": accuracy,
            "train": train}


def run_epoch(sess: tf.Session, net: dict[str, tf.Tensor], images: np.ndarray, labels: np.ndarray,
              rng: np.random.RandomState) -> float:
    """One pass over the data in random batches; gives the mean loss."""
    order = rng.permutation(len(labels))
    losses = []
    for start in range(0, len(labels), BATCH):
        batch = order[start:start + BATCH]
        feeds = {net["images"]: images[batch], net["labels"]: labels[batch], net["keep_prob"]: 0.5}
        losses.append(sess.run([net["loss"], net["train"]], feeds)[0])
    return float(np.mean(losses))


def main() -> float:
    """Train, print a line per epoch; gives the accuracy on the held-back fifth."""
    parser = argparse.ArgumentParser(description="Train a convolutional digit classifier.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tf.set_random_seed(args.seed)
    images, labels, test_images, test_labels = load(args.seed)
    net = build(args.learning_rate)
    rng = np.random.RandomState(args.seed)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for epoch in range(1, args.epochs + 1):
            start = time.perf_counter()
            loss = run_epoch(sess, net, images, labels, rng)
            seconds = time.perf_counter() - start
            accuracy = sess.run(net["accuracy"], {net["images"]: test_images, net["labels"]: test_labels})
            print(f"epoch {epoch:2}/{args.epochs}  loss {loss:.4f}  test accuracy {accuracy:6.2%}  "
                  f"{1e3 * seconds:5.1f} ms", flush=True)
    return float(accuracy)


if __name__ == "__main__":
    main()
