"""Trains softmax regression on handwritten digits.

    python examples/train_mnist_softmax.py --train_url /tmp/softmax

prints loss and accuracy every ten steps and leaves checkpoints, summaries and metrics.jsonl in
`train_url`; run it again and it goes on from the last checkpoint. `eval_mnist_softmax.py` measures
the result. Give `--data_url FOLDER` for MNIST itself, `--num_gpus 2` to train on two devices.
"""

from __future__ import annotations

import sys

import mox_tf as mox
import tensorflow.compat.v1 as tf
from absl import app, flags

import mnist_data

flags.DEFINE_string("data_url", mnist_data.DIGITS, "folder with MNIST's four files")
flags.DEFINE_string("train_url", "/tmp/mox/mnist_softmax", "folder for checkpoints and logs")
flags.DEFINE_integer("num_epochs", 10, "passes over the training images")
FLAGS = flags.FLAGS

BATCH_SIZE = 100


def input_fn(mode):
    mnist = mnist_data.read_data_sets(FLAGS.data_url, one_hot=True)
    num_batches = FLAGS.num_epochs * mnist.train.num_examples // BATCH_SIZE

    def generate():
        for _ in range(num_batches):
            yield mnist.train.next_batch(BATCH_SIZE)

    dataset = tf.data.Dataset.from_generator(
        generate,
        output_types=(tf.float32, tf.float32),
        output_shapes=([None, 784], [None, 10]),
    )
    return tf.data.make_one_shot_iterator(dataset).get_next()


def model_fn(inputs, mode):
    images, labels = inputs
    weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
    bias = tf.get_variable("b", initializer=tf.zeros([10]))
    logits = tf.matmul(images, weights) + bias
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
    correct = tf.equal(tf.argmax(logits, 1), tf.argmax(labels, 1))
    accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
    return mox.ModelSpec(loss=loss, log_info={"loss": loss, "accuracy": accuracy})


def main(_):
    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("sgd", learning_rate=0.5),
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=FLAGS.train_url,
        max_number_of_steps=sys.maxsize,  # until the data end
    )


if __name__ == "__main__":
    app.run(main)
