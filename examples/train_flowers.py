r"""Transfer learning on a folder of images: a network that knows some flowers learns others.

    python examples/train_flowers.py --train_url /tmp/mox/flowers --engine torch

draws six kinds of flowers, trains a small network on three of them, and then on the other three,
beginning with all variables but those of the last layer. Needs `pip install mox-core[images]`. With
photographs in a folder per kind, and a checkpoint of a network that was trained on others:

    python examples/train_flowers.py --data_url s3://bucket/flower_photos \
        --model_name resnet_v1_50 --checkpoint_url /models/resnet_v1_50

It names no engine: where a single one is installed, `--engine` can be left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mox_core as mox

import flower_images

nn = mox.nn
KNOWN, NEW = ("daisy", "poppy", "tulip"), ("sunflower", "bluebell", "buttercup")


def train(args, data_url, train_url, steps, checkpoint_url=None):
    """Trains on the images of a folder; returns what `mox.run` does."""
    data_meta = mox.ImageClassificationRawMetadata(data_url)
    model_meta = mox.get_model_meta(args.model_name)
    # The new kinds need a last layer of their own, and steps count from zero.
    mox.set_flag("checkpoint_exclude_patterns", f"global_step,{model_meta.default_logits_pattern}")

    def input_fn(mode):
        training = mode == mox.ModeKeys.TRAIN
        dataset = mox.ImageClassificationRawDataset(
            data_meta,
            batch_size=args.batch_size,
            num_epochs=None if training else 1,
            shuffle=training,
            augmentation_fn=mox.get_data_augmentation_fn(args.model_name, mode),
        )
        return dataset.get(["image", "label"])

    def model_fn(inputs, mode):
        images, labels = inputs
        network = mox.get_model_fn(
            args.model_name, mode, num_classes=data_meta.num_classes, weight_decay=0.00004
        )
        logits, _ = network(images)
        loss = nn.sparse_softmax_cross_entropy(logits, labels)
        total = nn.add_n([loss, *mox.get_collection(nn.Collections.REGULARIZATION_LOSSES)])
        log_info = {"loss": loss, "accuracy": nn.accuracy(logits, labels)}
        return mox.ModelSpec(loss=total, log_info=log_info)

    functions = {"input_fn": input_fn, "model_fn": model_fn, "auto_batch": False}
    trained = mox.run(
        **functions,
        optimizer_fn=mox.get_optimizer_fn("adam", learning_rate=args.learning_rate),
        run_mode=mox.ModeKeys.TRAIN,
        batch_size=args.batch_size,
        log_dir=train_url,
        checkpoint_path=checkpoint_url,
        max_number_of_steps=steps,
    )
    mox.set_flag("checkpoint_exclude_patterns", "")
    evaluated = mox.run(
        **functions,
        run_mode=mox.ModeKeys.EVAL,
        batch_size=args.batch_size,
        checkpoint_path=train_url,
    )
    return trained, evaluated


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", help="folder with a folder of images per kind")
    parser.add_argument("--model_name", default="cifarnet", help="a network of the zoo")
    parser.add_argument("--train_url", default="/tmp/mox/flowers", help="folder for the results")
    parser.add_argument("--checkpoint_url", help="checkpoint to begin with")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--max_number_of_steps", type=int, default=100)
    parser.add_argument("--images", type=int, default=60, help="flowers to draw of each kind")
    args = parser.parse_args()
    here = Path(args.train_url)
    data_url, checkpoint_url = args.data_url, args.checkpoint_url
    if data_url is None:
        known = flower_images.write(here / "images" / "known", KNOWN, args.images, seed=1)
        data_url = flower_images.write(here / "images" / "new", NEW, args.images, seed=2)
        if checkpoint_url is None:
            checkpoint_url = str(here / "known")
            train(args, known, checkpoint_url, args.max_number_of_steps)
    _, result = train(args, data_url, str(here / "new"), args.max_number_of_steps, checkpoint_url)
    print(f"accuracy on the new kinds: {result.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
