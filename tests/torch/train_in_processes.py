"""A script that torchrun starts several times: trains on this process's part of the data."""

from __future__ import annotations

import argparse
import os

import torch
import torch.nn.functional as F

import mox_torch as mox
from mox_core.testing.engine_problem import CLASSES, FEATURES, make_batches

parser = argparse.ArgumentParser()
parser.add_argument("--log_dir")
parser.add_argument("--counts", help="batches per rank, by commas")
parser.add_argument("--fail_at", type=int)
parser.add_argument("--stop_at", type=int)
args = parser.parse_args()
rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def input_fn(mode):
    count = int(args.counts.split(",")[rank])
    halves = [tuple(torch.as_tensor(part) for part in batch) for batch in make_batches(count)]
    for step, (features, labels) in enumerate(halves):
        if args.fail_at == step and rank == 1:
            raise ValueError("file 17 cannot be read")
        share = slice(rank * 8 // world, (rank + 1) * 8 // world)
        yield features[share], labels[share]


def model_fn(inputs, mode):
    features, labels = inputs
    torch.manual_seed(rank)  # other first values in every process, unless they are made equal
    net = mox.module("net", lambda: torch.nn.Linear(FEATURES, CLASSES))
    loss = F.cross_entropy(net(features), labels)
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


class StopEarly(mox.RunHook):
    def on_step_end(self, run, results):
        if args.stop_at is not None and rank == 0 and run.step == args.stop_at:
            run.stop("enough")


result = mox.run(
    input_fn=input_fn,
    model_fn=model_fn,
    optimizer_fn=lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9),
    run_mode=mox.ModeKeys.TRAIN,
    log_dir=args.log_dir,
    hooks=[StopEarly()],
)
# In one piece: print would write the end of the line apart, between those of other processes.
os.write(1, f"RANK {rank}: {result.steps} steps, {result.stop_reason}\n".encode())
