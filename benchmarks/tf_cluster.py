"""Two workers of mox beside two workers of tf.distribute, on one machine.

    python benchmarks/tf_cluster.py --rounds 3 --json results.json

Softmax regression on 784 features, batch 50 per worker, from arrays in memory, momentum. In step:
mox with --sync_replicas beside MultiWorkerMirroredStrategy. Asynchronous: mox beside
ParameterServerStrategy, whose coordinator is one more process. Every cell is a fresh cluster; the
order rotates. Rates are updates per second of all workers together, after a warm-up. All share the
cores of this machine, so that only ratios of one run can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time

BATCH_SIZE, FEATURES, CLASSES = 50, 784, 10
WARM_UP_STEPS = 100
RATE = "RATE "


def data():
    import numpy as np

    random = np.random.default_rng(0)
    features = random.normal(size=(5000, FEATURES)).astype(np.float32)
    return features, features[:, :CLASSES].argmax(1)


# ---- mox -----------------------------------------------------------------------------------------


def run_mox(steps):
    import tensorflow.compat.v1 as tf

    import mox_tf as mox
    from mox_core.engine import Fetch

    class Clock(mox.RunHook):
        fetch = Fetch()

        def next_step(self, step):
            return WARM_UP_STEPS if step <= WARM_UP_STEPS else steps - 1

        def on_step_end(self, run, results):
            now = time.perf_counter()
            if run.last_step == WARM_UP_STEPS:
                self.begun, self.first = now, run.global_step
            else:
                rate = (run.global_step - self.first) / (now - self.begun)
                print(f"{RATE}{rate}", flush=True)

    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices(data()).shuffle(5000).repeat().batch(BATCH_SIZE)

    def model_fn(inputs, mode):
        features, labels = inputs
        weights = tf.get_variable("weights", initializer=tf.zeros([FEATURES, CLASSES]))
        bias = tf.get_variable("bias", initializer=tf.zeros([CLASSES]))
        logits = tf.matmul(features, weights) + bias
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return mox.ModelSpec(loss=tf.reduce_mean(loss))

    mox.run(
        input_fn=input_fn,
        model_fn=model_fn,
        optimizer_fn=mox.get_optimizer_fn("momentum", learning_rate=0.1, momentum=0.9),
        run_mode=mox.ModeKeys.TRAIN,
        max_number_of_steps=steps,
        log_every_n_steps=0,
        hooks=[Clock()],
    )


# ---- tf.distribute -------------------------------------------------------------------------------


class Model:
    def __init__(self, tf):
        self.tf = tf
        self.weights = tf.Variable(tf.zeros([FEATURES, CLASSES]))
        self.bias = tf.Variable(tf.zeros([CLASSES]))
        self.speeds = [tf.Variable(tf.zeros_like(v)) for v in (self.weights, self.bias)]

    def gradients(self, batch):
        tf = self.tf
        features, labels = batch
        with tf.GradientTape() as tape:
            logits = tf.matmul(features, self.weights) + self.bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, [self.weights, self.bias])

    def apply(self, gradients):
        variables = [self.weights, self.bias]
        for variable, speed, gradient in zip(variables, self.speeds, gradients, strict=True):
            speed.assign(0.9 * speed + gradient)
            variable.assign_sub(0.1 * speed)


def dataset(tf):
    return tf.data.Dataset.from_tensor_slices(data()).shuffle(5000).repeat().batch(BATCH_SIZE)


def run_multi_worker(steps):
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = Model(tf)
    batches = iter(strategy.distribute_datasets_from_function(lambda context: dataset(tf)))

    @tf.function
    def step():
        def one(batch):
            loss, gradients = model.gradients(batch)
            context = tf.distribute.get_replica_context()
            model.apply(context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients))
            return loss

        return strategy.run(one, args=(next(batches),))

    for _ in range(WARM_UP_STEPS):
        step()
    begun = time.perf_counter()
    for _ in range(steps - WARM_UP_STEPS):
        step()
    print(f"{RATE}{(steps - WARM_UP_STEPS) / (time.perf_counter() - begun)}", flush=True)
    os._exit(0)


def run_parameter_server(steps):
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type != "chief":
        server = tf.distribute.Server(
            resolver.cluster_spec(),
            job_name=resolver.task_type,
            task_index=resolver.task_id,
            start=True,
        )
        server.join()
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        model = Model(tf)
    batches = iter(coordinator.create_per_worker_dataset(lambda: dataset(tf)))

    @tf.function
    def step(iterator):
        def one(batch):
            loss, gradients = model.gradients(batch)
            model.apply(gradients)
            return loss

        return strategy.run(one, args=(next(iterator),))

    def do(number):
        for _ in range(number):
            coordinator.schedule(step, args=(batches,))
        coordinator.join()

    do(2 * WARM_UP_STEPS)
    begun = time.perf_counter()
    do(2 * (steps - WARM_UP_STEPS))
    print(f"{RATE}{2 * (steps - WARM_UP_STEPS) / (time.perf_counter() - begun)}", flush=True)
    os._exit(0)


# ---- Clusters ------------------------------------------------------------------------------------

RUNS = {
    "mox --sync_replicas": (run_mox, {"ps": 1, "worker": 2}),
    "MultiWorkerMirroredStrategy": (run_multi_worker, {"worker": 2}),
    "mox, asynchronous": (run_mox, {"ps": 1, "worker": 2}),
    "ParameterServerStrategy": (run_parameter_server, {"ps": 1, "worker": 2, "chief": 1}),
}


def measure(name, steps):
    _, counts = RUNS[name]
    cluster = {job: addresses(count) for job, count in counts.items()}
    processes = []
    for job, count in counts.items():
        for index in range(count):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            config = {"cluster": cluster, "task": {"type": job, "index": index}}
            environment["TF_CONFIG"] = json.dumps(config)
            if name.startswith("mox"):
                environment["MOX_SYNC_REPLICAS"] = str("sync" in name)
                environment["MOX_PS_HOSTS"] = ",".join(cluster["ps"])
                environment["MOX_WORKER_HOSTS"] = ",".join(cluster["worker"])
                environment["MOX_JOB_NAME"], environment["MOX_TASK_INDEX"] = job, str(index)
            command = [sys.executable, __file__, "--part", name, "--steps", str(steps)]
            processes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
    speaker = processes[-1] if "chief" in counts else processes[counts.get("ps", 0)]
    try:
        text = speaker.communicate(timeout=180)[0]
    finally:
        for process in processes:
            process.kill()
    return float(text.split(RATE)[1].split()[0])


def addresses(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500, help="of each worker")
    parser.add_argument("--json")
    parser.add_argument("--part", choices=RUNS, help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.part:
        RUNS[options.part][0](options.steps)
        return
    rates = {name: [] for name in RUNS}
    names = list(RUNS)
    for number in range(options.rounds):
        for name in names[number % 4 :] + names[: number % 4]:
            rates[name].append(measure(name, options.steps))
            print(f"{name:30} {rates[name][-1]:8.1f} updates/s", flush=True)
    pairs = [(names[0], names[1]), (names[2], names[3])]
    ratios = {
        f"{ours} / {theirs}": statistics.median(
            a / b for a, b in zip(rates[ours], rates[theirs], strict=True)
        )
        for ours, theirs in pairs
    }
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {platform.machine()}")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} (median of {options.rounds})")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rates": rates, "ratios": ratios}, file, indent=1)


if __name__ == "__main__":
    main()
