"""Trains a LeNet-like network with PyTorch, evaluates it after every epoch, exports it.

    python examples/train_mnist_torch.py --log_dir /tmp/torch

prints the training loss, and accuracy and loss on the test images after each epoch; the exported
model is in `/tmp/torch/1` (the next run's in `/tmp/torch/2`). Give `--data_url FOLDER` for MNIST
itself. `torchrun --nproc-per-node 2 examples/train_mnist_torch.py` trains in two processes.
"""

from __future__ import annotations

import argparse

import mox_torch as mox
import torch
import torch.nn.functional as F

import mnist_data


class LeNet(torch.nn.Module):
    """Two convolutions and two dense layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 16, kernel_size=5, padding=2)
        self.conv2 = torch.nn.Conv2d(16, 32, kernel_size=5, padding=2)
        self.dropout = torch.nn.Dropout(0.3)
        self.hidden = torch.nn.Linear(7 * 7 * 32, 128)
        self.logits = torch.nn.Linear(128, 10)

    def forward(self, images):
        """Returns the logits [batch, 10] of images [batch, 784]."""
        x = images.reshape(-1, 1, 28, 28)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.logits(self.dropout(x))


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
        logits = mox.module("lenet", LeNet)(images)
        prediction = logits.argmax(dim=1)
        loss = F.cross_entropy(logits, labels)
        accuracy = (prediction == labels).float().mean()
        metrics = {"loss": loss, "accuracy": accuracy}
        evaluation = mox.LogEvaluationMetricHook(
            monitor_info=metrics,
            batch_size=batch_size,
            samples_in_train=mnist.train.num_examples,
            samples_in_eval=mnist.test.num_examples,
        )
        export_spec = mox.ExportSpec(
            inputs_dict={"images": images},
            outputs_dict={"prediction": prediction, "probabilities": logits.softmax(dim=1)},
        )
        return mox.ModelSpec(
            loss=loss, log_info=metrics, export_spec=export_spec, hooks=[evaluation]
        )

    return input_fn, model_fn


def train(data_url, log_dir, *, num_epochs, batch_size=50):
    """Trains, evaluates after each epoch, exports; returns what `mox.run` returns."""
    # Every process draws its batches in an order of its own.
    mnist = mnist_data.read_data_sets(data_url, seed=mox.get_flag("rank"))
    input_fn, model_fn = make_functions(mnist, batch_size, num_epochs)
    return mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=lambda parameters: torch.optim.Adam(parameters, lr=0.001),
        run_mode=mox.ModeKeys.TRAIN,
        inter_mode=mox.ModeKeys.EVAL,
        batch_size=batch_size,
        auto_batch=False,
        log_dir=log_dir,
        max_number_of_steps=num_epochs * mnist.train.num_batches(batch_size),
        export_model="torch_export",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--log_dir", default="/tmp/mox/mnist_torch", help="folder for the results")
    parser.add_argument("--num_epochs", type=int, default=10)
    args = parser.parse_args()
    mox.dist.init_process_group()
    train(args.data_url, args.log_dir, num_epochs=args.num_epochs)


if __name__ == "__main__":
    main()
