"""Measures the accuracy of what `train_mnist_softmax.py` has trained, on the test images.

    python examples/eval_mnist_softmax.py --train_url /tmp/softmax

prints at the end the accuracy over all test images.
"""

from __future__ import annotations

import sys

import mox_tf as mox
import tensorflow.compat.v1 as tf
from absl import app, flags

import mnist_data

flags.DEFINE_string("data_url", mnist_data.DIGITS, "folder with MNIST's four files")
flags.DEFINE_string("train_url", "/tmp/mox/mnist_softmax", "folder with the checkpoints")
FLAGS = flags.FLAGS


def input_fn(mode):
    mnist = mnist_data.read_data_sets(FLAGS.data_url, one_hot=True)
    dataset = tf.data.Dataset.from_generator(
        lambda: mnist.test.batches(100),
        output_types=(tf.float32, tf.float32),
        output_shapes=([None, 784], [None, 10]),
    )
    return tf.data.make_one_shot_iterator(dataset).get_next()


def model_fn(inputs, mode):
    images, labels = inputs
    weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
    bias = tf.get_variable("b", initializer=tf.zeros([10]))
    logits = tf.matmul(images, weights) + bias
    correct = tf.equal(tf.argmax(logits, 1), tf.argmax(labels, 1))
    return mox.ModelSpec(log_info={"accuracy": tf.reduce_mean(tf.cast(correct, tf.float32))})


def main(_):
    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        run_mode=mox.ModeKeys.EVAL,
        checkpoint_path=FLAGS.train_url,
        max_number_of_steps=sys.maxsize,  # until the data end
    )


if __name__ == "__main__":
    app.run(main)
