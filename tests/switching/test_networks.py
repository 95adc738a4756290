"""The networks of the zoo give the same logits on every engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import mox_core as mox
from mox_core import nn
from mox_core.converting import convert_checkpoint
from mox_core.engine import Fetch

TRAIN, PREDICT = mox.ModeKeys.TRAIN, mox.ModeKeys.PREDICT


@dataclass(frozen=True)
class Case:
    """How a network is tried.

    Args:
        size: of the images; odd ones need padding of one side.
        training: the end point that is compared in mode TRAIN. No dropped unit has an influence
            on it, and it is not so deep that float32 differs from float64 by as much as this
            allows, as it does behind forty batch normalizations over a few pixels.
        batch: images in a batch.
    """

    size: int
    training: str | None
    batch: int = 3


CASES = {
    "lenet": Case(28, "fc3"),
    "cifarnet": Case(32, "pool2"),
    "resnet_v1_50": Case(65, "logits"),
    "inception_v3": Case(107, "Mixed_5d"),
    "mobilenet_v1_050": Case(97, "Conv2d_6_pointwise"),
    "vgg_16": Case(224, None, batch=1),
}
CLASSES = 7


def model(name, network_mode):
    """A model_fn whose network is built for a mode, whatever the program does."""
    wanted = CASES[name].training if network_mode == TRAIN else "logits"

    def model_fn(inputs, mode):
        logits, ends = mox.get_model_fn(name, network_mode, CLASSES)(inputs[0])
        return mox.ModelSpec(output_info={"y": {**ends, "logits": logits}[wanted]})

    return model_fn


def images(name):
    case, channels = CASES[name], 1 if name == "lenet" else 3
    shape = (case.batch, case.size, case.size, channels)
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture
def drawn_once(monkeypatch):
    """First values are drawn for the first engine only; of very large ones a part, repeated.

    Those of vgg_16 would take seconds. The part has a length that no axis divides.
    """
    draw, drawn = nn.initial_value, {}

    def initial_value(variable):
        if variable.name not in drawn:
            drawn[variable.name] = (draw if np.prod(variable.shape) < 1e7 else repeated)(variable)
        return drawn[variable.name]

    def repeated(variable):
        part = np.random.default_rng(7).normal(0, 0.01, 999_983)
        return np.resize(part, variable.shape).astype(variable.dtype)

    monkeypatch.setattr(nn, "initial_value", initial_value)
    yield
    drawn.clear()


def compute(build, engine, name, network_mode, assigned=None):
    """Output and variables of one step."""
    program = build(engine, PREDICT, [(images(name),)], model(name, network_mode))
    if assigned is None:
        assigned = moved(program.variables())
    program.assign(assigned)
    y = program.run_steps(1, Fetch(outputs=True), lambda: False).outputs[0]["y"]
    variables = {(info.name, info.shape) for info in program.variable_infos()}
    build.close()
    return y, variables, assigned


def moved(variables):
    """Averages and offsets that are not the first ones."""
    random = np.random.default_rng(6)
    changed = {}
    for name, value in variables.items():
        if name.endswith(("moving_mean", "beta", "biases")):
            changed[name] = (value + random.normal(0, 0.1, value.shape)).astype(value.dtype)
        elif name.endswith("moving_variance"):
            changed[name] = (value * random.uniform(0.5, 2, value.shape)).astype(value.dtype)
    return changed


@pytest.mark.parametrize(
    ("name", "network_mode"),
    [(name, PREDICT) for name in CASES]
    + [(name, TRAIN) for name, case in CASES.items() if case.training],
)
def test_all_engines_compute_the_same(build, engines, drawn_once, name, network_mode):
    first, variables, assigned = compute(build, engines[0], name, network_mode)
    assert np.abs(first).max() > 1e-3
    for engine in engines[1:]:
        other, own_variables, _ = compute(build, engine, name, network_mode, assigned)
        assert own_variables == variables
        difference = np.abs(other - first).max() / np.abs(first).max()
        assert difference < 1e-4


def test_a_tf_slim_checkpoint_loads_into_every_engine(build, engines, drawn_once, tmp_path):
    """A file in the format of 2016, of one file, as those for download are."""
    tf = pytest.importorskip("tensorflow.compat.v1")
    name = "cifarnet"
    wanted, _, assigned = compute(build, engines[0], name, PREDICT)
    program = build(engines[0], PREDICT, [(images(name),)], model(name, PREDICT))
    values = {**program.variables(), **assigned}
    build.close()
    path = str(tmp_path / "cifarnet.ckpt")
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.Variable(value, name=key) for key, value in values.items()]
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(variables, write_version=tf.train.SaverDef.V1)
        saver.save(session, path, write_meta_graph=False, write_state=False)
    assert (tmp_path / "cifarnet.ckpt").is_file()
    for engine in engines:
        prefix = path
        if engine != "tf":
            prefix = convert_checkpoint(path, str(tmp_path / engine), to=engine).path
        program = build(engine, PREDICT, [(images(name),)], model(name, PREDICT))
        report = program.restore(prefix, lambda name: True, state=False)
        assert not report.missing
        y = program.run_steps(1, Fetch(outputs=True), lambda: False).outputs[0]["y"]
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
        build.close()
