"""A script that is started several times at once: trains on this process's part of the data."""

from __future__ import annotations

import argparse
import os
import signal

import torch
import torch.nn.functional as F

import mox_torch as mox
from mox_core.errors import EngineError
from mox_core.testing.engine_problem import CLASSES, FEATURES, make_batches

parser = argparse.ArgumentParser()
parser.add_argument("--log_dir")
parser.add_argument("--counts", help="batches per rank, by commas")
parser.add_argument("--fail_at", type=int)
parser.add_argument("--then_stop_at", type=int, help="train again, until a hook of rank 0 stops")
parser.add_argument("--then_differ", action="store_true", help="train once more, in vain")
parser.add_argument("--rank_that_fails", type=int, default=1)
parser.add_argument("--evaluate", action="store_true")
parser.add_argument("--die_at", type=int, help="kill the process itself")
args = parser.parse_args()
mox.dist.init_process_group()
rank, world = mox.dist.rank(), mox.dist.world_size()
assert rank == mox.get_flag("rank")


def input_fn(mode):
    count = int(args.counts.split(",")[rank])
    halves = [tuple(torch.as_tensor(part) for part in batch) for batch in make_batches(count)]
    for step, (features, labels) in enumerate(halves):
        if args.fail_at == step and rank == args.rank_that_fails:
            raise ValueError("file 17 cannot be read")
        if args.die_at == step and rank == args.rank_that_fails:
            os.kill(os.getpid(), signal.SIGKILL)
        share = slice(rank * 8 // world, (rank + 1) * 8 // world)
        yield features[share], labels[share]


calls = 0


def model_fn(inputs, mode):
    global calls
    calls += 1
    features, labels = inputs
    torch.manual_seed(rank)  # other first values in every process, unless they are made equal
    net = mox.module("net", lambda: torch.nn.Linear(FEATURES, CLASSES))
    # Kept out of what all processes use: the first one has samples for it in the first calls only.
    extra = mox.module("extra", lambda: torch.nn.Linear(FEATURES, 1))
    loss = F.cross_entropy(net(features), labels)
    if world == 1:
        loss = loss + extra(features[4:]).square().sum() / 8
    elif rank or calls <= 2:
        loss = loss + extra(features * rank).square().sum() * rank / 4
    return mox.ModelSpec(loss=loss, log_info={"loss": loss})


class StopEarly(mox.RunHook):
    def on_step_end(self, run, results):
        if rank == 0 and run.step == args.then_stop_at:
            run.stop("enough")


def tell(text):
    # In one piece: print would write the end of the line apart, between those of other processes.
    os.write(1, f"RANK {rank}: {text}\n".encode())


def train(log_dir, *hooks):
    result = mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9),
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=log_dir,
        hooks=hooks,
    )
    tell(f"{result.steps} steps, {result.stop_reason}")


train(args.log_dir)
if args.then_stop_at is not None:
    calls = 0
    train(None, StopEarly())
if args.then_differ:
    try:
        train(None)  # in rank 0 this is not the first call any more, so it leaves `extra` out
    except EngineError as error:
        tell(str(error).partition("\n")[0])
if args.evaluate:
    evaluated = mox.run(
        input_fn=input_fn, model_fn=model_fn, run_mode=mox.ModeKeys.EVAL, log_dir=args.log_dir
    )
    tell(f"evaluated at step {evaluated.global_step}")
