"""Trains a LeNet-like network, evaluates it after every epoch, exports it for serving.

    python examples/train_mnist_conv.py --log_dir /tmp/conv

prints the training loss, and accuracy and loss on the test images after each epoch; the exported
model is in `/tmp/conv/1` (the next run's in `/tmp/conv/2`). `predict_exported.py` uses it.
Give `--data_url FOLDER` for MNIST itself, `--num_gpus 2` to train on two devices.
"""

from __future__ import annotations

import argparse

import mox_tf as mox
import tensorflow.compat.v1 as tf

import mnist_data

SEED = 1  # two runs begin with the same weights and drop the same units


def dense(x, name, units):
    with tf.variable_scope(name):
        weights = tf.get_variable(
            "weights", [x.shape[-1], units], initializer=tf.glorot_uniform_initializer(SEED)
        )
        biases = tf.get_variable("biases", [units], initializer=tf.zeros_initializer())
        return tf.matmul(x, weights) + biases


def conv_and_pool(x, name, filters):
    with tf.variable_scope(name):
        weights = tf.get_variable(
            "weights", [5, 5, x.shape[-1], filters], initializer=tf.glorot_uniform_initializer(SEED)
        )
        biases = tf.get_variable("biases", [filters], initializer=tf.zeros_initializer())
        x = tf.nn.relu(tf.nn.conv2d(x, weights, strides=1, padding="SAME") + biases)
        return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


def lenet(images, is_training):
    """Returns the logits [batch, 10] of images [batch, 784]."""
    x = tf.reshape(images, [-1, 28, 28, 1])
    x = conv_and_pool(x, "conv1", 16)
    x = conv_and_pool(x, "conv2", 32)
    x = tf.reshape(x, [-1, 7 * 7 * 32])
    x = tf.nn.relu(dense(x, "hidden", 128))
    if is_training:
        x = tf.nn.dropout(x, rate=0.3, seed=SEED)
    return dense(x, "logits", 10)


def make_functions(mnist, batch_size, num_epochs):
    """Returns the input_fn and model_fn for `mox.run`."""

    def input_fn(mode):
        def train_batches():
            for _ in range(num_epochs * mnist.train.num_batches(batch_size)):
                yield mnist.train.next_batch(batch_size)

        def test_batches():
            return mnist.test.batches(batch_size)

        return tf.data.Dataset.from_generator(
            train_batches if mode == mox.ModeKeys.TRAIN else test_batches,
            output_types=(tf.float32, tf.int64),
            output_shapes=([None, 784], [None]),
        )

    def model_fn(inputs, mode):
        images, labels = inputs
        logits = lenet(images, is_training=mode == mox.ModeKeys.TRAIN)
        prediction = tf.argmax(logits, axis=1)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
        accuracy = tf.reduce_mean(tf.cast(tf.equal(prediction, labels), tf.float32))
        metrics = {"loss": loss, "accuracy": accuracy}
        evaluation = mox.LogEvaluationMetricHook(
            monitor_info=metrics,
            batch_size=batch_size,
            samples_in_train=mnist.train.num_examples,
            samples_in_eval=mnist.test.num_examples,
        )
        export_spec = mox.ExportSpec(
            inputs_dict={"images": images},
            outputs_dict={"prediction": prediction, "probabilities": tf.nn.softmax(logits)},
        )
        return mox.ModelSpec(
            loss=loss, log_info=metrics, export_spec=export_spec, hooks=[evaluation]
        )

    return input_fn, model_fn


def train(data_url, log_dir, *, num_epochs, batch_size=50):
    """Trains, evaluates after each epoch, exports; returns what `mox.run` returns."""
    mnist = mnist_data.read_data_sets(data_url)
    input_fn, model_fn = make_functions(mnist, batch_size, num_epochs)
    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("adam", learning_rate=0.001),
        run_mode=mox.ModeKeys.TRAIN,
        inter_mode=mox.ModeKeys.EVAL,
        batch_size=batch_size,
        auto_batch=False,
        log_dir=log_dir,
        max_number_of_steps=num_epochs * mnist.train.num_batches(batch_size),
        export_model=mox.ExportKeys.TF_SERVING,
    )


def evaluate(data_url, checkpoint_path, *, batch_size=50):
    """Evaluates on the test images; returns what `mox.run` returns."""
    mnist = mnist_data.read_data_sets(data_url)
    input_fn, model_fn = make_functions(mnist, batch_size, num_epochs=1)
    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        run_mode=mox.ModeKeys.EVAL,
        checkpoint_path=checkpoint_path,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--log_dir", default="/tmp/mox/mnist_conv", help="folder for the results")
    parser.add_argument("--num_epochs", type=int, default=10)
    args = parser.parse_args()
    train(args.data_url, args.log_dir, num_epochs=args.num_epochs)


if __name__ == "__main__":
    main()
