"""How fast the run loop is, beside loops written by hand and Keras, on the same model and data.

    python benchmarks/run_loop.py                       # the digits that ship with the examples
    python benchmarks/run_loop.py --data_url MNIST --json results.json

Softmax regression, batch 100, from a Python generator: a step so small that what is measured is the
loop. Each contender runs in a process of its own, in turn, in every round; the first steps do not
count. Figures of different machines, or of different runs on a busy one, cannot be compared: the
ratios of one run can. CPU time per step (all threads) suffers less from other work than steps/s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH_SIZE = 100
WARM_UP_STEPS = 500
LOOK_EVERY = 100  # steps between two looks at the clock
IMPORT_ROUNDS = 21


# ---- In the contenders' processes ----------------------------------------------------------------


class Clock:
    """Takes the time from the end of the warm-up until `seconds` have passed.

    Args:
        seconds: how long to measure.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._start: tuple[int, float, float] | None = None
        self.result: dict[str, float] = {}

    def look(self, steps: int) -> bool:
        """Takes the time after so many steps; returns whether the time is up."""
        if self._start is None:
            if steps >= WARM_UP_STEPS:
                self._start = (steps, time.perf_counter(), time.process_time())
            return False
        first, wall, cpu = self._start
        elapsed, used = time.perf_counter() - wall, time.process_time() - cpu
        done = steps - first
        if done:
            self.result = {"steps_per_sec": done / elapsed, "cpu_us_per_step": used / done * 1e6}
        return elapsed >= self._seconds


def batches(data_url, goes_on=lambda: True):
    import mnist_data

    train = mnist_data.read_data_sets(data_url, one_hot=True).train
    while goes_on():
        yield train.next_batch(BATCH_SIZE)


def dataset(tf, generate):
    return tf.data.Dataset.from_generator(
        generate, (tf.float32, tf.float32), ([None, 784], [None, 10])
    )


def softmax_regression(tf, images, labels):
    weights = tf.get_variable("W", initializer=tf.zeros([784, 10]))
    bias = tf.get_variable("b", initializer=tf.zeros([10]))
    logits = tf.matmul(images, weights) + bias
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
    correct = tf.equal(tf.argmax(logits, 1), tf.argmax(labels, 1))
    return loss, tf.reduce_mean(tf.cast(correct, tf.float32))


def run_mox(clock: Clock, data_url: str, folder: str) -> None:
    import tensorflow.compat.v1 as tf

    import mox_tf as mox
    from mox_core.engine import Fetch

    class Timing(mox.RunHook):
        every_n_steps = LOOK_EVERY
        fetch = Fetch()  # nothing

        def on_step_end(self, run, results):
            if clock.look(run.step):
                run.stop("time is up")

    def model_fn(inputs, mode):
        loss, accuracy = softmax_regression(tf, *inputs)
        return mox.ModelSpec(loss=loss, log_info={"loss": loss, "accuracy": accuracy})

    mox.run(
        input_fn=lambda mode: tf.data.make_one_shot_iterator(
            dataset(tf, lambda: batches(data_url))
        ).get_next(),
        model_fn=model_fn,
        optimizer_fn=lambda: tf.train.GradientDescentOptimizer(0.5),
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=folder,
        max_number_of_steps=sys.maxsize,
        log_every_n_steps=10,
        save_summary_steps=100,
        hooks=[Timing()],
    )


def build_by_hand(tf, data_url):
    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    tf.logging.set_verbosity(tf.logging.INFO)
    data = dataset(tf, lambda: batches(data_url))
    images, labels = tf.data.make_one_shot_iterator(data).get_next()
    loss, accuracy = softmax_regression(tf, images, labels)
    step = tf.train.get_or_create_global_step()
    train_op = tf.train.GradientDescentOptimizer(0.5).minimize(loss, global_step=step)
    return train_op, loss, accuracy


def run_monitored_session(clock: Clock, data_url: str, folder: str) -> None:
    import tensorflow.compat.v1 as tf

    train_op, loss, accuracy = build_by_hand(tf, data_url)
    tf.summary.scalar("loss", loss)
    tf.summary.scalar("accuracy", accuracy)
    hooks = [
        tf.train.LoggingTensorHook({"loss": loss, "accuracy": accuracy}, every_n_iter=10),
        tf.train.NanTensorHook(loss),
    ]
    # Its defaults add a checkpoint every 600 s and a step counter every 100 steps.
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, hooks=hooks, save_summaries_steps=100
    ) as session:
        steps = 0
        while steps % LOOK_EVERY or not clock.look(steps):
            session.run(train_op)
            steps += 1


def run_raw_session(clock: Clock, data_url: str, folder: str) -> None:
    import tensorflow.compat.v1 as tf

    train_op, _, _ = build_by_hand(tf, data_url)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        steps = 0
        while steps % LOOK_EVERY or not clock.look(steps):
            session.run(train_op)
            steps += 1


def run_keras(clock: Clock, data_url: str, folder: str) -> None:
    """`fit` without metrics, callbacks and output, which only cost it time.

    The generator takes the time: it is at most a few batches ahead of the steps.
    """
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input([784]), keras.layers.Dense(10)])
    model.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    given = 0

    def goes_on() -> bool:
        nonlocal given
        given += 1
        return bool((given - 1) % LOOK_EVERY) or not clock.look(given - 1)

    model.fit(dataset(tf, lambda: batches(data_url, goes_on)), verbose=0)


@dataclass(frozen=True)
class Contender:
    """A loop to measure: `run(clock, data_url, folder)` trains until the clock says stop."""

    title: str
    run: Callable[[Clock, str, str], None]


CONTENDERS = {
    "mox": Contender("mox.run: log/10, summaries/100, checkpoints, NaN check", run_mox),
    "monitored": Contender("MonitoredTrainingSession with the same", run_monitored_session),
    "raw": Contender("session.run(train_op) and nothing else", run_raw_session),
    "keras": Contender("Keras fit, no metrics, callbacks or output", run_keras),
}


def measure_here(name: str, data_url: str, seconds: float) -> None:
    """Runs one contender in this process and prints its figures as JSON."""
    sys.path.insert(0, str(EXAMPLES))
    clock = Clock(seconds)
    with tempfile.TemporaryDirectory() as folder:
        CONTENDERS[name].run(clock, data_url, folder)
    print(json.dumps(clock.result))


# ---- In the process that compares ----------------------------------------------------------------


def measure(name: str, data_url: str, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            [sys.executable, __file__, f"--contender={name}", f"--seconds={seconds}"]
            + [f"--data_url={data_url}"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        if done.returncode:
            log.seek(0)
            raise SystemExit(f"contender {name} failed:\n{log.read()[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_imports() -> dict[str, object]:
    """Milliseconds that `import mox_core` adds to an interpreter, and the modules it loads."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    pairs = [(seconds("pass"), seconds("import mox_core")) for _ in range(IMPORT_ROUNDS)]
    listing = (
        "import sys; before = set(sys.modules); import mox_core; "
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    modules = subprocess.check_output([sys.executable, "-c", listing], text=True).split()
    return {
        "python_ms": statistics.median(first for first, _ in pairs) * 1000,
        "import_mox_core_ms": statistics.median(second - first for first, second in pairs) * 1000,
        "modules": modules,
    }


def facts() -> dict[str, object]:
    cpu = ""
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    packages = ("mox-core", "mox-tf", "keras", "numpy")
    tensorflow = "tensorflow"
    try:
        version(tensorflow)
    except ModuleNotFoundError:
        tensorflow = "tensorflow-cpu"
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "versions": {name: version(name) for name in (tensorflow, *packages)},
    }


def report(results: dict[str, list[dict[str, float]]], imports: dict[str, object]) -> str:
    def median(name: str, key: str) -> float:
        return statistics.median(one[key] for one in results[name])

    lines = ["| loop | steps/s, median (lowest to highest) | CPU us/step | mox steps/s over it |"]
    lines.append("|---|---|---|---|")
    for name, contender in CONTENDERS.items():
        rates = [one["steps_per_sec"] for one in results[name]]
        # Ratio round by round: neighbours in time share what else the machine does.
        ratio = statistics.median(
            mox["steps_per_sec"] / other["steps_per_sec"]
            for mox, other in zip(results["mox"], results[name], strict=True)
        )
        lines.append(
            f"| {contender.title} | {median(name, 'steps_per_sec'):.0f} "
            f"({min(rates):.0f} to {max(rates):.0f}) | {median(name, 'cpu_us_per_step'):.0f} "
            f"| {ratio:.2f} |"
        )
    lines.append("")
    lines.append(
        f"`import mox_core`: {imports['import_mox_core_ms']:.1f} ms on top of Python's "
        f"{imports['python_ms']:.1f} ms; it loads {', '.join(imports['modules'])}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_url", default=str(EXAMPLES / "data" / "digits"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured per run")
    parser.add_argument("--json", help="file for all figures")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        measure_here(args.contender, args.data_url, args.seconds)
        return
    machine = facts()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    names = list(CONTENDERS)
    for number in range(args.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:  # nobody always comes after the same one
            results[name].append(measure(name, args.data_url, args.seconds))
            rate = results[name][-1]["steps_per_sec"]
            print(f"round {number + 1}/{args.rounds}: {name} {rate:.0f} steps/s", file=sys.stderr)
    imports = measure_imports()
    print(report(results, imports))
    if args.json:
        everything = {"machine": machine, "results": results, "imports": imports}
        Path(args.json).write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
