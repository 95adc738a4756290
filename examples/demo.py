"""The whole round on real data: train, evaluate, export, predict with the exported model.

    python examples/demo.py

trains a small convolutional network on the handwritten digits that ship with the examples, in less
than a minute, and ends by saying how good it is and where everything is. Each run gets a folder of
its own below `./demo_output`; `--output_dir FOLDER` resumes one that was interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys

import mnist_data
import train_mnist_conv as conv


def new_folder(parent):
    """Returns the first of parent/run-1, parent/run-2, ... that does not exist."""
    candidates = (os.path.join(parent, f"run-{n}") for n in itertools.count(1))
    return next(folder for folder in candidates if not os.path.exists(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--output_dir", help="folder for the results; default: a new one")
    parser.add_argument("--num_epochs", type=int, default=10)
    args = parser.parse_args()
    folder = args.output_dir or new_folder("demo_output")

    print(f"--- Training; Ctrl-C stops it, `--output_dir {folder}` goes on ---", flush=True)
    trained = conv.train(args.data_url, folder, num_epochs=args.num_epochs)
    print("--- Evaluating the last checkpoint on the test images ---", flush=True)
    evaluated = conv.evaluate(args.data_url, folder)
    print("--- Predicting with the exported model, in a process without mox ---", flush=True)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "predict_exported.py")
    command = [sys.executable, script, f"--model_dir={trained.export_dir}"]
    subprocess.run([*command, f"--data_url={args.data_url}"], check=True)

    print(f"""
accuracy on the test images: {evaluated.metrics["accuracy"]:.3f}
checkpoints, summaries:      {folder}
every logged value:          {os.path.join(folder, "metrics.jsonl")}
exported model:              {trained.export_dir}
look at the curves with:     tensorboard --logdir {folder}""")


if __name__ == "__main__":
    main()
