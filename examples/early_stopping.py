"""Stops training when the accuracy on the test images no longer improves.

    python examples/early_stopping.py --log_dir /tmp/early

prints the accuracy after every epoch and stops after three epochs without improvement, long before
the 100 epochs that it is allowed.
"""

from __future__ import annotations

import argparse

import mox_tf as mox
import tensorflow.compat.v1 as tf

import mnist_data

BATCH_SIZE = 50
MAX_EPOCHS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--log_dir", default="/tmp/mox/early_stopping", help="folder for results")
    args = parser.parse_args()
    mnist = mnist_data.read_data_sets(args.data_url)

    def input_fn(mode):
        def train_batches():
            while True:
                yield mnist.train.next_batch(BATCH_SIZE)

        def test_batches():
            return mnist.test.batches(BATCH_SIZE)

        return tf.data.Dataset.from_generator(
            train_batches if mode == mox.ModeKeys.TRAIN else test_batches,
            output_types=(tf.float32, tf.int64),
            output_shapes=([None, 784], [None]),
        )

    def model_fn(inputs, mode):
        images, labels = inputs
        weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
        bias = tf.get_variable("b", initializer=tf.zeros([10]))
        logits = tf.matmul(images, weights) + bias
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
        correct = tf.equal(tf.argmax(logits, 1), labels)
        accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
        stopping = mox.EarlyStoppingHook(
            monitor_info={"accuracy": accuracy},
            monitor="accuracy",
            batch_size=BATCH_SIZE,
            samples_in_train=mnist.train.num_examples,
            samples_in_eval=mnist.test.num_examples,
            min_delta=0.002,
            patience=3,
        )
        return mox.ModelSpec(
            loss=loss, log_info={"loss": loss, "accuracy": accuracy}, hooks=[stopping]
        )

    result = mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("momentum", learning_rate=0.1),
        run_mode=mox.ModeKeys.TRAIN,
        inter_mode=mox.ModeKeys.EVAL,
        log_dir=args.log_dir,
        log_every_n_steps=50,
        max_number_of_steps=MAX_EPOCHS * mnist.train.num_examples // BATCH_SIZE,
    )
    epochs = result.global_step * BATCH_SIZE / mnist.train.num_examples
    print(f"ended after {epochs:.0f} of {MAX_EPOCHS} epochs: {result.stop_reason}")


if __name__ == "__main__":
    main()
