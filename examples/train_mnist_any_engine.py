"""Trains a LeNet-like network on any engine that is installed: the script names none.

    python examples/train_mnist_any_engine.py --engine torch --log_dir /tmp/lenet

prints the training loss, and accuracy and loss on the test images after each epoch. Every engine
begins with the same weights and sees the same batches, so that the losses are the same, too. Give
`--data_url FOLDER` for MNIST itself, `--mode EVAL` to evaluate what was trained.

What one engine has trained goes on with another:

    mox checkpoint convert /tmp/lenet /tmp/lenet_tf --to tf
    python examples/train_mnist_any_engine.py --engine tf --log_dir /tmp/lenet_tf --num_epochs 10
"""

from __future__ import annotations

import argparse

import mox_core as mox

import mnist_data

nn = mox.nn


def lenet(images):
    """Returns the logits [batch, 10] of images [batch, pixels of a square]."""
    side = round(images.shape[1] ** 0.5)
    x = nn.reshape(images, (-1, side, side, 1))
    x = nn.max_pool2d(nn.conv2d(x, 16, kernel_size=5, scope="conv1"), 2, padding="SAME")
    x = nn.max_pool2d(nn.conv2d(x, 32, kernel_size=5, scope="conv2"), 2, padding="SAME")
    x = nn.fully_connected(nn.flatten(x), 128, scope="hidden")
    return nn.fully_connected(x, 10, activation_fn=None, scope="logits")


def make_functions(mnist, batch_size, num_epochs):
    """Returns the input_fn and model_fn for `mox.run`."""

    def input_fn(mode):
        def train_batches():
            for _ in range(num_epochs * mnist.train.num_batches(batch_size)):
                yield mnist.train.next_batch(batch_size)

        def test_batches():
            return mnist.test.batches(batch_size)

        return train_batches if mode == mox.ModeKeys.TRAIN else test_batches

    def model_fn(inputs, mode):
        images, labels = inputs
        logits = lenet(images)
        loss = nn.sparse_softmax_cross_entropy(logits, labels)
        metrics = {"loss": loss, "accuracy": nn.accuracy(logits, labels)}
        evaluation = mox.LogEvaluationMetricHook(
            monitor_info=metrics,
            batch_size=batch_size,
            samples_in_train=mnist.train.num_examples,
            samples_in_eval=mnist.test.num_examples,
        )
        return mox.ModelSpec(loss=loss, log_info=metrics, hooks=[evaluation])

    return input_fn, model_fn


def train(
    data_url,
    log_dir,
    *,
    num_epochs,
    batch_size=50,
    optimizer="momentum",
    learning_rate=0.02,
    **arguments,
):
    """Trains and evaluates after each epoch; returns what `mox.run` returns.

    Args:
        data_url: folder with MNIST's files.
        log_dir: folder for the results, or None.
        num_epochs: how often the training images are seen.
        batch_size: images in a step.
        optimizer: its name.
        learning_rate: its learning rate.
        arguments: more of `mox.run`, such as `engine`.
    """
    mnist = mnist_data.read_data_sets(data_url)
    input_fn, model_fn = make_functions(mnist, batch_size, num_epochs)
    options = {
        "inter_mode": mox.ModeKeys.EVAL,
        "max_number_of_steps": num_epochs * mnist.train.num_batches(batch_size),
    }
    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn(optimizer, learning_rate),
        run_mode=mox.ModeKeys.TRAIN,
        batch_size=batch_size,
        auto_batch=False,
        log_dir=log_dir,
        **{**options, **arguments},
    )


def evaluate(data_url, log_dir, *, batch_size=50, **arguments):
    """Evaluates on the test images; returns what `mox.run` returns."""
    mnist = mnist_data.read_data_sets(data_url)
    input_fn, model_fn = make_functions(mnist, batch_size, num_epochs=1)
    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        run_mode=mox.ModeKeys.EVAL,
        log_dir=log_dir,
        **arguments,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--log_dir", default="/tmp/mox/any_engine", help="folder for the results")
    parser.add_argument("--num_epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--mode", default="TRAIN", choices=["TRAIN", "EVAL"])
    args = parser.parse_args()
    if args.mode == "EVAL":
        evaluate(args.data_url, args.log_dir, batch_size=args.batch_size)
    else:
        train(args.data_url, args.log_dir, num_epochs=args.num_epochs, batch_size=args.batch_size)


if __name__ == "__main__":
    main()
