"""A script that is started several times: trains on this process's part of the data."""

from __future__ import annotations

import argparse
import os
import signal

import numpy as np

import mox_mxnet as mox
from mox_core.testing.engine_problem import CLASSES, FEATURES, make_batches
from mox_mxnet.importing import load

parser = argparse.ArgumentParser()
parser.add_argument("--log_dir")
parser.add_argument("--counts", help="batches per rank, by commas")
parser.add_argument("--fail_at", type=int)
parser.add_argument("--die_at", type=int)
parser.add_argument("--stop_at", type=int)
args = parser.parse_args()
mx = load()
rank, world = int(os.environ.get("MOX_RANK", 0)), int(os.environ.get("DMLC_NUM_WORKER", 1))


def input_fn(mode):
    count = int(args.counts.split(",")[rank])
    for step, (features, labels) in enumerate(make_batches(count)):
        if rank == 1 and args.fail_at == step:
            raise ValueError("file 17 cannot be read")
        if rank == 1 and args.die_at == step:
            os.kill(os.getpid(), signal.SIGKILL)
        share = slice(rank * 8 // world, (rank + 1) * 8 // world)
        yield features[share], labels[share]


def model_fn(inputs, mode):
    features, labels = inputs
    # Other first values in every process, unless they are made equal.
    start = np.full((FEATURES, CLASSES), rank / 10, np.float32)
    weights = mox.get_variable("weights", (FEATURES, CLASSES), mx.nd.array(start))
    logits = mx.nd.dot(features, weights)
    loss = -mx.nd.pick(mx.nd.log_softmax(logits), labels).mean()
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


class StopEarly(mox.RunHook):
    def on_step_end(self, run, results):
        if args.stop_at is not None and rank == 0 and run.step == args.stop_at:
            run.stop("enough")


result = mox.run(
    input_fn=input_fn,
    model_fn=model_fn,
    optimizer_fn=lambda: mx.optimizer.SGD(learning_rate=0.5, momentum=0.9),
    run_mode=mox.ModeKeys.TRAIN,
    log_dir=args.log_dir,
    hooks=[StopEarly()],
)
# In one piece: print would write the end of the line apart, between those of other processes.
os.write(1, f"RANK {rank}: {result.steps} steps, {result.stop_reason}\n".encode())
