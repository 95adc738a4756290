"""Predicts digits with a model that `train_mnist_conv.py` has exported; needs TensorFlow only.

    python examples/predict_exported.py --model_dir /tmp/conv/1

prints a few predictions beside the labels, and the accuracy over all test images.
"""

from __future__ import annotations

import argparse

import numpy as np
import tensorflow as tf

import mnist_data


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model_dir", required=True, help="folder of the exported model")
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    args = parser.parse_args()
    if not tf.saved_model.contains_saved_model(args.model_dir):
        parser.error(f"{args.model_dir} holds no exported model; train_mnist_conv.py exports one")

    test = mnist_data.read_data_sets(args.data_url).test
    predict = tf.saved_model.load(args.model_dir).signatures["predict_object"]
    predictions = np.concatenate(
        [
            predict(images=tf.constant(images))["prediction"].numpy()
            for images, _ in test.batches(500)
        ]
    )
    print("predicted:", *predictions[:20])
    print("labelled: ", *test.labels[:20])
    accuracy = np.mean(predictions == test.labels)
    print(f"accuracy of the exported model: {accuracy:.3f} ({test.num_examples} test images)")


if __name__ == "__main__":
    main()
