"""Two workers of mox beside two workers of tf.distribute, on one machine.

    python benchmarks/tf_cluster.py --rounds 3 --json results.json
    python benchmarks/tf_cluster.py --model lenet --steps 80 --warm-up 15

Softmax regression or LeNet on 784 features, batch 50 per worker, from arrays in memory, momentum.
In step: mox with --sync_replicas beside MultiWorkerMirroredStrategy. Asynchronous: mox beside
ParameterServerStrategy, whose coordinator is one more process. Every cell is a fresh cluster; the
order rotates. Rates are updates per second of all workers together, after a warm-up; CPU is that of
all processes per update. All share the cores of this machine, so that only ratios of one run can be
compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time

BATCH_SIZE, FEATURES, CLASSES = 50, 784, 10
WARM, RATE = "WARM", "RATE "

SHAPES = {
    "softmax": [(FEATURES, CLASSES), (CLASSES,)],
    "lenet": [(5, 5, 1, 32), (5, 5, 32, 64), (7 * 7 * 64, 512), (512,), (512, CLASSES), (CLASSES,)],
}


def make_logits(tf, features, variables):
    """The model's, out of its variables as `SHAPES` lists them."""
    if len(variables) == 2:
        return tf.matmul(features, variables[0]) + variables[1]
    first, second, dense, bias, last, last_bias = variables
    value = tf.reshape(features, [-1, 28, 28, 1])
    for kernel in (first, second):
        value = tf.nn.relu(tf.nn.conv2d(value, kernel, strides=[1, 1, 1, 1], padding="SAME"))
        value = tf.nn.max_pool(value, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    value = tf.nn.relu(tf.matmul(tf.reshape(value, [-1, 7 * 7 * 64]), dense) + bias)
    return tf.matmul(value, last) + last_bias


def data():
    import numpy as np

    random = np.random.default_rng(0)
    features = random.normal(size=(5000, FEATURES)).astype(np.float32)
    return features, features[:, :CLASSES].argmax(1)


# ---- mox -----------------------------------------------------------------------------------------


def run_mox(model, steps, warm_up):
    import tensorflow.compat.v1 as tf

    import mox_tf as mox
    from mox_core.engine import Fetch

    class Clock(mox.RunHook):
        fetch = Fetch()

        def next_step(self, step):
            return warm_up if step <= warm_up else steps - 1

        def on_step_end(self, run, results):
            now = time.perf_counter()
            if run.last_step == warm_up:
                self.begun, self.first = now, run.global_step
                print(WARM, flush=True)
            else:
                rate = (run.global_step - self.first) / (now - self.begun)
                print(f"{RATE}{rate}", flush=True)

    def input_fn(mode):
        return tf.data.Dataset.from_tensor_slices(data()).shuffle(5000).repeat().batch(BATCH_SIZE)

    def model_fn(inputs, mode):
        features, labels = inputs
        variables = [
            tf.get_variable(f"v{i}", shape, initializer=tf.random_normal_initializer(stddev=0.05))
            for i, shape in enumerate(SHAPES[model])
        ]
        logits = make_logits(tf, features, variables)
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
    def __init__(self, tf, model):
        self.tf = tf
        shapes = SHAPES[model]
        self.variables = [tf.Variable(tf.random.normal(shape, stddev=0.05)) for shape in shapes]
        self.speeds = [tf.Variable(tf.zeros(shape)) for shape in shapes]

    def gradients(self, batch):
        tf = self.tf
        features, labels = batch
        with tf.GradientTape() as tape:
            logits = make_logits(tf, features, self.variables)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, self.variables)

    def apply(self, gradients):
        for variable, speed, gradient in zip(self.variables, self.speeds, gradients, strict=True):
            speed.assign(0.9 * speed + gradient)
            variable.assign_sub(0.1 * speed)


def dataset(tf):
    return tf.data.Dataset.from_tensor_slices(data()).shuffle(5000).repeat().batch(BATCH_SIZE)


def run_multi_worker(name, steps, warm_up):
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = Model(tf, name)
    batches = iter(strategy.distribute_datasets_from_function(lambda context: dataset(tf)))

    @tf.function
    def step():
        def one(batch):
            loss, gradients = model.gradients(batch)
            context = tf.distribute.get_replica_context()
            model.apply(context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients))
            return loss

        return strategy.run(one, args=(next(batches),))

    for _ in range(warm_up):
        step()
    print(WARM, flush=True)
    begun = time.perf_counter()
    for _ in range(steps - warm_up):
        step()
    print(f"{RATE}{(steps - warm_up) / (time.perf_counter() - begun)}", flush=True)
    os._exit(0)


def run_parameter_server(name, steps, warm_up):
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
        model = Model(tf, name)
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

    do(2 * warm_up)
    print(WARM, flush=True)
    begun = time.perf_counter()
    do(2 * (steps - warm_up))
    print(f"{RATE}{2 * (steps - warm_up) / (time.perf_counter() - begun)}", flush=True)
    os._exit(0)


# ---- Clusters ------------------------------------------------------------------------------------

RUNS = {
    "mox --sync_replicas": (run_mox, {"ps": 1, "worker": 2}),
    "MultiWorkerMirroredStrategy": (run_multi_worker, {"worker": 2}),
    "mox, asynchronous": (run_mox, {"ps": 1, "worker": 2}),
    "ParameterServerStrategy": (run_parameter_server, {"ps": 1, "worker": 2, "chief": 1}),
}


IN_STEP = ("mox --sync_replicas", "MultiWorkerMirroredStrategy")


def measure(name, options):
    steps = options.steps
    _, counts = RUNS[name]
    cluster = {job: addresses(count) for job, count in counts.items()}
    processes = []
    for job, count in counts.items():
        for index in range(count):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            config = {"cluster": cluster, "task": {"type": job, "index": index}}
            environment["TF_CONFIG"] = json.dumps(config)
            if name.startswith("mox"):
                environment["MOX_SYNC_REPLICAS"] = str("sync_replicas" in name)
                environment["MOX_PS_HOSTS"] = ",".join(cluster["ps"])
                environment["MOX_WORKER_HOSTS"] = ",".join(cluster["worker"])
                environment["MOX_JOB_NAME"], environment["MOX_TASK_INDEX"] = job, str(index)
            command = [sys.executable, __file__, "--part", name, "--steps", str(steps)]
            command += ["--warm-up", str(options.warm_up), "--model", options.model]
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
        for line in speaker.stdout:
            if line.startswith(WARM):
                before = cpu_seconds(processes)
            elif line.startswith(RATE):
                used = cpu_seconds(processes) - before
                break
        else:
            raise SystemExit(f"{name} ended before its time")
    finally:
        for process in processes:
            process.kill()
    each = 1 if name in IN_STEP else 2
    return float(line.split()[1]), used / (each * (steps - options.warm_up)) * 1e3


def cpu_seconds(processes):
    ticks = 0
    for process in processes:
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def addresses(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def _kind(name):
    return "in step" if name in IN_STEP else "asynchronous"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500, help="of each worker")
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--model", choices=SHAPES, default="softmax")
    parser.add_argument("--only", choices=["in step", "asynchronous"])
    parser.add_argument("--json")
    parser.add_argument("--part", choices=RUNS, help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.part:
        RUNS[options.part][0](options.model, options.steps, options.warm_up)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an error does: nobody stays behind
    names = [name for name in RUNS if options.only in (None, _kind(name))]
    rates, cpu = ({name: [] for name in names} for _ in range(2))
    for number in range(options.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            rate, used = measure(name, options)
            rates[name].append(rate)
            cpu[name].append(used)
            print(f"{name:30} {rate:8.1f} updates/s {used:8.2f} ms of CPU per update", flush=True)
    ratios = {}
    for ours, theirs in zip(names[::2], names[1::2], strict=True):
        for what, found in (("rate", rates), ("CPU", cpu)):
            pairs = zip(found[ours], found[theirs], strict=True)
            ratios[f"{what} of {ours} / {theirs}"] = statistics.median(a / b for a, b in pairs)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {platform.machine()}")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} (median of {options.rounds})")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rates": rates, "cpu": cpu, "ratios": ratios}, file, indent=1)


if __name__ == "__main__":
    main()
