"""Trains softmax regression until it is stopped.

    python endless.py LOG_DIR [--max_steps N] [--stall_after BATCHES]

saves every 25 steps; with `--stall_after` the input hangs after so many batches.
"""

import argparse
import threading

import mnist_data
import tensorflow.compat.v1 as tf

import mox_tf as mox

parser = argparse.ArgumentParser()
parser.add_argument("log_dir")
parser.add_argument("--max_steps", type=int, default=0)
parser.add_argument("--stall_after", type=int)
args = parser.parse_args()
train = mnist_data.read_data_sets().train


def input_fn(mode):
    def batches():
        given = 0
        while given != args.stall_after:
            yield train.next_batch(100)
            given += 1
        print("the input hangs", flush=True)
        threading.Event().wait()

    return tf.data.Dataset.from_generator(batches, (tf.float32, tf.int64), ([None, 784], [None]))


def learning_rate():
    # From 0.1 to 0.5 in the first 100 epochs of 14 steps.
    return mox.learning_rate_scheduler.piecewise_lr("100:0.1->0.5,101:0.5", 1400, 100)


def model_fn(inputs, mode):
    images, labels = inputs
    weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
    logits = tf.matmul(images, weights)
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    return mox.ModelSpec(loss=loss, log_info={"loss": loss, "learning_rate": learning_rate()})


mox.run(
    input_fn=input_fn,
    model_fn=model_fn,
    optimizer_fn=lambda: tf.train.GradientDescentOptimizer(learning_rate()),
    run_mode=mox.ModeKeys.TRAIN,
    log_dir=args.log_dir,
    max_number_of_steps=args.max_steps,
    save_model_steps=25,
    save_summary_steps=10,
)
