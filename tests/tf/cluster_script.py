"""The training script of the cluster tests: softmax regression on data that the task number seeds.

Worker k of n uses rows k, k+n, k+2n, ... of a stream of batches, so that n workers in step see what
one process with n times the batch size sees.
"""

from __future__ import annotations

import json
import time
from functools import partial

import numpy as np
import tensorflow.compat.v1 as tf

import mox_core
import mox_tf as mox
from mox_core import nn

tf.flags.DEFINE_string("folder", None, "log_dir")
tf.flags.DEFINE_integer("steps", 30, "max_number_of_steps")
tf.flags.DEFINE_integer("save", 10, "save_model_steps")
tf.flags.DEFINE_list("batches", ["1000000"], "batches of each worker, in turn")
tf.flags.DEFINE_float("pace", 0.0, "seconds that a batch takes, so that kills come in the middle")
tf.flags.DEFINE_integer("rows", 8, "rows of a batch")
tf.flags.DEFINE_string("mode", "TRAIN", "run mode")
tf.flags.DEFINE_string("fail", "", "where to raise: model or step")
tf.flags.DEFINE_bool("neutral", False, "the same script over mox.nn")
tf.flags.DEFINE_bool("stop", False, "the chief stops by a hook after 5 steps")
flags = tf.flags.FLAGS


def input_fn(mode):
    worker = mox.get_flag("task_index")
    workers = max(len([host for host in mox.get_flag("worker_hosts").split(",") if host]), 1)
    own = int(flags.batches[worker % len(flags.batches)])

    def generate():
        rng = np.random.default_rng(0)
        for _ in range(own):
            time.sleep(flags.pace)
            features = rng.normal(size=(flags.rows * workers, 20)).astype(np.float32)
            mine = features[worker::workers]
            if flags.fail == "step" and worker == 1:
                raise ValueError("this batch is bad")
            yield mine, np.argmax(mine[:, :5], axis=1)

    if flags.neutral:
        return generate
    return tf.data.Dataset.from_generator(
        generate, output_types=(tf.float32, tf.int64), output_shapes=([None, 20], [None])
    )


def model_fn(inputs, mode):
    features, labels = inputs
    if flags.fail == "model" and mox.get_flag("task_index") == 1:
        raise ValueError("this model is bad")
    if flags.neutral:
        # Drawn by this process for the parameter server, and the same everywhere.
        weights = nn.get_variable("weights", (20, 5))
        bias = nn.get_variable("bias", (5,), initializer=nn.zeros)
        loss = nn.sparse_softmax_cross_entropy(nn.matmul(features, weights) + bias, labels)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss})
    weights = tf.get_variable("weights", initializer=tf.zeros([20, 5]))
    bias = tf.get_variable("bias", initializer=tf.zeros([5]))
    logits = tf.matmul(features, weights) + bias
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


class StopEarly(mox.RunHook):
    def on_step_end(self, run, results):
        if flags.stop and run.cluster.is_chief and run.step >= 5:
            run.stop("enough")


run, optimizer = mox.run, mox.get_optimizer_fn
if flags.neutral:
    run, optimizer = partial(mox_core.run, engine="tf"), mox_core.get_optimizer_fn
result = run(
    input_fn=input_fn,
    model_fn=model_fn,
    optimizer_fn=optimizer("momentum", learning_rate=0.1, momentum=0.9),
    run_mode=flags.mode,
    log_dir=flags.folder,
    max_number_of_steps=flags.steps,
    save_model_steps=flags.save,
    log_every_n_steps=5,
    batch_size=flags.rows,
    auto_batch=False,
    hooks=[StopEarly()],
)
print(
    "RESULT",
    json.dumps(
        {
            "steps": result.steps,
            "global_step": result.global_step,
            "reason": result.stop_reason,
            "loss": result.metrics.get("loss"),
        }
    ),
    flush=True,
)
