"""Writes the predictions of what `train_mnist_softmax.py` has trained to a CSV file.

    python examples/predict_to_csv.py --checkpoint_path /tmp/softmax --csv /tmp/predictions.csv

writes one row per test image: its number, the predicted digit, its probability, the label.
"""

from __future__ import annotations

import argparse
import csv

import mox_tf as mox
import tensorflow.compat.v1 as tf

import mnist_data


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=mnist_data.DIGITS, help="folder with MNIST's files")
    parser.add_argument("--checkpoint_path", required=True, help="folder with the checkpoints")
    parser.add_argument("--csv", default="predictions.csv", help="file to write")
    args = parser.parse_args()
    mnist = mnist_data.read_data_sets(args.data_url)

    def input_fn(mode):
        return tf.data.Dataset.from_generator(
            lambda: mnist.test.batches(100),
            output_types=(tf.float32, tf.int64),
            output_shapes=([None, 784], [None]),
        )

    def model_fn(inputs, mode):
        images, labels = inputs
        weights = tf.get_variable("W", [784, 10])
        bias = tf.get_variable("b", [10])
        probabilities = tf.nn.softmax(tf.matmul(images, weights) + bias)
        return mox.ModelSpec(
            output_info={
                "prediction": tf.argmax(probabilities, 1),
                "probability": tf.reduce_max(probabilities, 1),
                "label": labels,
            }
        )

    rows = []

    def output_fn(outputs):  # called once, at the end, with the batches of all steps
        for batch in outputs:
            rows.extend(zip(batch["prediction"], batch["probability"], batch["label"], strict=True))

    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        output_fn=output_fn,
        run_mode=mox.ModeKeys.PREDICT,
        checkpoint_path=args.checkpoint_path,
    )
    with open(args.csv, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "prediction", "probability", "label"])
        for number, (prediction, probability, label) in enumerate(rows):
            writer.writerow([number, prediction, f"{probability:.4f}", label])
    print(f"{args.csv}: {len(rows)} predictions")


if __name__ == "__main__":
    main()
