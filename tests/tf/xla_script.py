"""Trains a few steps and prints the loss: `python xla_script.py LOG_DIR --xla true`."""

from __future__ import annotations

import sys

import numpy as np
import tensorflow.compat.v1 as tf

import mox_tf as mox


def train(log_dir, steps=6):
    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices(np.ones([40, 4], np.float32)).batch(2).repeat()

    def model_fn(inputs, mode):
        weights = tf.get_variable("weights", [4, 3], initializer=tf.ones_initializer())
        with tf.name_scope("my_layer"):
            net = tf.nn.softmax(tf.tanh(inputs[0] @ weights * 2.0 + 1.0) * weights[0])
        loss = tf.reduce_sum(tf.square(net))
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})

    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("sgd", 0.1),
        run_mode=mox.ModeKeys.TRAIN,
        max_number_of_steps=steps,
        log_dir=log_dir,
    )


if __name__ == "__main__":
    print(train(sys.argv[1]).metrics["loss"])
