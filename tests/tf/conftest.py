from __future__ import annotations

import gzip
from collections import namedtuple

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.flags import get_flag
from mox_core.spec import ModeKeys

Mnist = namedtuple("Mnist", "images labels test_images test_labels")


@pytest.fixture(scope="session")
def mnist(mnist_folder):
    """Real digits: images float32 [n, 784] from 0 to 1, labels int64 [n]."""

    def read(name, header, *shape):
        values = np.frombuffer(gzip.decompress((mnist_folder / name).read_bytes()), np.uint8)
        return values[header:].reshape(-1, *shape)

    return Mnist(
        read("train-images-idx3-ubyte.gz", 16, 784).astype(np.float32) / 255,
        read("train-labels-idx1-ubyte.gz", 8).astype(np.int64),
        read("t10k-images-idx3-ubyte.gz", 16, 784).astype(np.float32) / 255,
        read("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64),
    )


class Bench:
    """Builds programs through the engine's contract, and closes them in the end."""

    def __init__(self):
        self.programs = []

    def build(self, mode, input_fn, model_fn, *, towers=1, flags=None, start=True, **request):
        from mox_tf.engine import TensorFlowEngine

        flags = flags or {}
        engine = TensorFlowEngine()
        engine.setup(EngineConfig(towers, lambda name: flags.get(name, get_flag(name))))
        program = engine.build(ProgramRequest(mode, input_fn, model_fn, **request))
        self.programs.append(program)
        if start:
            program.start()
        return program

    def train(self, input_fn, model_fn, optimizer_fn=None, **more):
        if optimizer_fn is None:
            from mox_tf import get_optimizer_fn

            optimizer_fn = get_optimizer_fn("sgd", 0.1)
        functions = optimizer_fn if isinstance(optimizer_fn, tuple) else (optimizer_fn,)
        return self.build(
            ModeKeys.TRAIN, input_fn, model_fn, **{"optimizer_fns": functions, **more}
        )

    def eval(self, input_fn, model_fn, **more):
        return self.build(ModeKeys.EVAL, input_fn, model_fn, stop_on_nan=False, **more)

    def predict(self, input_fn, model_fn, **more):
        return self.build(ModeKeys.PREDICT, input_fn, model_fn, stop_on_nan=False, **more)

    def export(self, program, model_fn, **more):
        return self.build(ModeKeys.EXPORT, None, model_fn, input_spec=program.input_spec, **more)

    @staticmethod
    def run(program, steps=1, fetch=Fetch(values=True)):  # noqa: B008 - frozen
        return program.run_steps(steps, fetch, lambda: False)

    @classmethod
    def run_to_end(cls, program, fetch=Fetch(values=True)):  # noqa: B008 - frozen
        """Single steps until the data end; the results of those that ran."""
        done = []
        while (results := cls.run(program, 1, fetch)).ended is None:
            done.append(results)
        assert (results.ended, results.steps) == ("data", 0)
        return done

    def close(self):
        for program in self.programs:
            program.close()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()
