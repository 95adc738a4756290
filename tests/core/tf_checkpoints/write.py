"""Wrote the files beside it, with TensorFlow 2.21: `python write.py FOLDER`.

Importing it takes no TensorFlow: `values` tells what they hold.
"""

from __future__ import annotations

import sys

import numpy as np

PARTS = ((0, 4), (4, 3), (7, 3))
"""(start, length) of the rows of `parts/rows` and of the columns of `parts/columns`."""


def values():
    """Name -> array."""
    random = np.random.default_rng(0)
    found = {
        "weights": random.normal(size=(2, 3)).astype(np.float32),
        "bias": random.normal(size=3).astype(np.float32),
        "weights/momentum": np.full((2, 3), 0.25, np.float32),
        "bias/momentum": np.full(3, 0.25, np.float32),
        "global_step": np.asarray(1234567890123),
        "parts/rows": random.normal(size=(10, 2)).astype(np.float32),
        "parts/columns": random.normal(size=(2, 10)),
    }
    for dtype in ("float16", "float64", "int8", "uint8", "int16", "int32", "bool"):
        found[f"dtypes/{dtype}"] = (random.normal(size=(2, 2)) * 40).astype(dtype)
    return found


def pieces():
    """(name, shape and slice as TensorFlow writes them, array) of all that is saved."""
    found = []
    for name, array in values().items():
        if name == "parts/rows":
            found += [(name, f"10 2 {a},{n}:-", array[a : a + n]) for a, n in PARTS]
        elif name == "parts/columns":
            found += [(name, f"2 10 -:{a},{n}", array[:, a : a + n]) for a, n in PARTS]
        else:
            found.append((name, "", array))
    return found


def write(folder, more=()):
    """Writes a bundle of two shards, `bundle.ckpt`, and the older format, `old.ckpt`."""
    import tensorflow.compat.v1 as tf

    saved = [*pieces(), *more]
    with tf.Graph().as_default(), tf.Session() as session:
        constants = {id(array): tf.constant(array) for _, _, array in saved}
        tensors = [constants[id(array)] for _, _, array in saved]
        names, slices = [name for name, _, _ in saved], [where for _, where, _ in saved]
        text = [tf.constant(["a", "bc"]), tf.constant([1.5, -2.0], tf.bfloat16)]
        shards = [f"{folder}/shard-{number}" for number in (0, 1)]
        with tf.control_dependencies(
            [
                tf.raw_ops.SaveV2(
                    prefix=shards[0],
                    tensor_names=names[::2],
                    shape_and_slices=slices[::2],
                    tensors=tensors[::2],
                ),
                tf.raw_ops.SaveV2(
                    prefix=shards[1],
                    tensor_names=[*names[1::2], "text", "dtypes/bfloat16"],
                    shape_and_slices=[*slices[1::2], "", ""],
                    tensors=[*tensors[1::2], *text],
                ),
            ]
        ):
            merge = tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=shards, destination_prefix=f"{folder}/bundle.ckpt"
            )
        session.run(merge)
        session.run(
            tf.raw_ops.SaveSlices(
                filename=f"{folder}/old.ckpt",
                tensor_names=names,
                shapes_and_slices=slices,
                data=tensors,
            )
        )


if __name__ == "__main__":
    write(sys.argv[1])
