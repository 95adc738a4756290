"""Training: optimizers, moving averages, first values, towers, several losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mox_core import nn
from mox_core.engine import EngineConfig, Fetch, Program, ProgramRequest
from mox_core.flags import get_flag
from mox_core.optim import get_optimizer_fn, piecewise_lr
from mox_core.spec import Mode, ModeKeys, ModelSpec
from mox_core.testing.engine_bench import MonitorHook
from mox_core.testing.nn_bench import NNBench, never
from mox_core.testing.nn_optimizers import next_scalars, update_variable
from mox_core.testing.nn_reference import Array
from mox_core.testing.toy_engine import ToyEngine

__all__ = ["TrainingTier"]

OPTIMIZERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {}),
    "momentum": ("momentum", {"momentum": 0.8}),
    "momentum nesterov": ("momentum", {"momentum": 0.8, "use_nesterov": True}),
    "adam": ("adam", {}),
    "adam with a large epsilon": ("adam", {"beta1": 0.8, "beta2": 0.9, "epsilon": 0.1}),
    "rmsprop": ("rmsprop", {}),
    "rmsprop momentum": ("rmsprop", {"decay": 0.8, "momentum": 0.7, "epsilon": 0.1}),
    "rmsprop centered": ("rmsprop", {"momentum": 0.5, "epsilon": 0.01, "centered": True}),
    "adagrad": ("adagrad", {}),
    "adagrad from 1": ("adagrad", {"initial_accumulator_value": 1.0}),
    "adadelta": ("adadelta", {"epsilon": 0.01}),
    "ftrl": ("ftrl", {}),
    "ftrl regularized": (
        "ftrl",
        {
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.01,
        },
    ),
    "ftrl with another power": ("ftrl", {"learning_rate_power": -0.3}),
}


def _rows(count: int, *, size: int = 6, seed: int = 5) -> list[tuple[Array, Array]]:
    random = np.random.default_rng(seed)
    return [(random.normal(size=(size, 3)), random.normal(size=(size, 2))) for _ in range(count)]


def _linear(inputs: Any, mode: Mode) -> ModelSpec:
    x, y = inputs
    weights = nn.get_variable("w", (3, 2), dtype="float64")
    loss = nn.mean_squared_error(nn.matmul(x, weights), y)
    return ModelSpec(loss=loss, log_info={"loss": loss})


def _linear_gradient(weights: Array, batch: tuple[Array, Array]) -> Array:
    x, y = batch
    return np.asarray(2 * x.T @ (x @ weights - y) / y.size)


def _images(count: int, *, size: int = 8) -> list[tuple[Array, Array]]:
    random = np.random.default_rng(1)
    return [
        (random.normal(size=(size, 9, 9, 2)).astype(np.float32), random.integers(0, 3, size))
        for _ in range(count)
    ]


def _conv_net(inputs: Any, mode: Mode) -> ModelSpec:
    """A bit of everything that networks are made of."""
    images, labels = inputs
    params = {"decay": 0.8, "scale": True}
    with nn.variable_scope("net"):
        x = nn.conv2d(
            images,
            4,
            kernel_size=3,
            stride=2,
            normalizer_fn=nn.batch_norm,
            normalizer_params=params,
            scope="conv1",
        )
        x = nn.lrn(x, 2, bias=1.0, alpha=0.1, beta=0.75)
        x = nn.separable_conv2d(
            x, 6, kernel_size=3, weights_regularizer=nn.l2_regularizer(0.01), scope="conv2"
        )
        x = nn.max_pool2d(x, 3, stride=2, padding="SAME")
        y = nn.avg_pool2d(x, 2, stride=1, padding="SAME")
        x = nn.flatten(nn.concat([x, y]))
        logits = nn.fully_connected(x, 3, activation_fn=None, scope="logits")
    loss = nn.sparse_softmax_cross_entropy(logits, labels)
    total = nn.get_total_loss()
    metrics = {"loss": total, "accuracy": nn.accuracy(logits, labels), "entropy": loss}
    return ModelSpec(
        loss=total,
        log_info=metrics,
        output_info={"logits": logits},
        hooks=[MonitorHook(metrics)] if mode == ModeKeys.EVAL else None,
    )


class TrainingTier:
    """Required of every engine that runs neutral scripts."""

    @pytest.mark.parametrize("name", list(OPTIMIZERS))
    def test_ten_steps_of_an_optimizer(self, nn_bench: NNBench, name: str) -> None:
        optimizer, options = OPTIMIZERS[name]
        schedule = piecewise_lr("1:0.1->0.3,2:0.2", num_samples=30, global_batch_size=6)
        optimizer_fn = get_optimizer_fn(optimizer, schedule, **options)
        batches = _rows(10)
        program = nn_bench.build(ModeKeys.TRAIN, batches, _linear, optimizers=[optimizer_fn])
        spec = optimizer_fn()
        weights = program.variables()["w"].copy()
        slots = {slot.role: np.full_like(weights, slot.initial) for slot in spec.slots}
        scalars = dict(spec.scalars)
        for step, batch in enumerate(batches):
            gradient = _linear_gradient(weights, batch)
            weights = update_variable(spec, weights, gradient, slots, scalars=scalars, step=step)
            scalars = next_scalars(spec, scalars)
            assert program.run_steps(1, Fetch(), never).steps == 1
            np.testing.assert_allclose(program.variables()["w"], weights, rtol=1e-6, atol=1e-9)
        state = program.variables()
        for slot in spec.slots:
            np.testing.assert_allclose(
                state[f"w/{slot.suffix}"], slots[slot.role], rtol=1e-6, atol=1e-9
            )
        for key, value in scalars.items():
            np.testing.assert_allclose(state[key], value, rtol=1e-5)

    def test_variables_begin_with_the_values_of_their_names(self, nn_bench: NNBench) -> None:
        program = nn_bench.build(ModeKeys.TRAIN, _images(1), _conv_net)
        found = program.variables()
        specs = {0: nn.InputSpec((None, 9, 9, 2), "float32"), 1: nn.InputSpec((None,), "int64")}
        made = nn.trace(_conv_net, specs, ModeKeys.TRAIN).graph.variables
        assert "net/conv1/BatchNorm/moving_variance" in made
        for name, variable in made.items():
            assert found[name].shape == variable.shape
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], nn.initial_value(variable), err_msg=name)
        assert set(found) == {*made, "global_step"}

    def test_variables_go_in_and_out_in_the_neutral_layout(self, nn_bench: NNBench) -> None:
        program = nn_bench.build(ModeKeys.PREDICT, _images(1), _conv_net)
        random = np.random.default_rng(2)
        values = {
            name: random.random(value.shape).astype(value.dtype)
            for name, value in program.variables().items()
            if name != "global_step"
        }
        program.assign(values)
        for name, value in program.variables().items():
            if name != "global_step":
                np.testing.assert_array_equal(value, values[name], err_msg=name)
        shapes = {info.name: info.shape for info in program.variable_infos()}
        assert shapes["net/conv2/depthwise_weights"] == (3, 3, 4, 1)
        assert shapes["net/conv2/pointwise_weights"] == (1, 1, 4, 6)

    def test_twenty_steps_equal_the_reference(self, nn_bench: NNBench, tmp_path: Path) -> None:
        """Also of a new program that goes on from a checkpoint, and where nobody looks at them."""
        batches = _images(20)
        rate = [get_optimizer_fn("momentum", 0.01)]
        begun = nn_bench.build(ModeKeys.TRAIN, batches[:10], _conv_net, optimizers=rate)
        losses = _losses(begun, 10)
        begun.save(str(tmp_path / "a"))
        program = nn_bench.build(ModeKeys.TRAIN, batches[10:], _conv_net, optimizers=rate)
        assert not program.restore(str(tmp_path / "a"), lambda name: True).missing_state
        assert program.run_steps(9, Fetch(), never).steps == 9
        losses += _losses(program, 1)
        reference = _reference_program(batches, rate)
        wanted_losses = _losses(reference, 20)
        np.testing.assert_allclose(losses, [*wanted_losses[:10], wanted_losses[-1]], rtol=1e-4)
        wanted = reference.variables()
        for name, value in program.variables().items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-2, atol=1e-4, err_msg=name)

    def test_moving_averages(self, nn_bench: NNBench) -> None:
        """They follow the batches, with the unbiased variance, also where nothing else does."""
        random = np.random.default_rng(3)
        batches = [(random.normal(i, 1 + i, size=(5, 2, 1, 3)),) for i in range(3)]

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            nn.batch_norm(inputs[0], decay=0.7, scope="unused")
            y = nn.batch_norm(inputs[0], decay=0.9, scope="used")
            scale = nn.get_variable("scale", (), dtype="float64", initializer=nn.ones)
            return ModelSpec(loss=nn.l2_loss(y * scale), output_info={"y": y})

        program = nn_bench.build(ModeKeys.TRAIN, batches, model_fn)
        wanted = {"used": (np.zeros(3), np.ones(3)), "unused": (np.zeros(3), np.ones(3))}
        for (x,) in batches:
            program.run_steps(1, Fetch(), never)
            rows = x.reshape(-1, 3)
            for name, decay in (("used", 0.9), ("unused", 0.7)):
                mean, variance = wanted[name]
                wanted[name] = (
                    decay * mean + (1 - decay) * rows.mean(axis=0),
                    decay * variance + (1 - decay) * rows.var(axis=0, ddof=1),
                )
        found = program.variables()
        for name, (mean, variance) in wanted.items():
            np.testing.assert_allclose(found[f"{name}/moving_mean"], mean, rtol=1e-9)
            np.testing.assert_allclose(found[f"{name}/moving_variance"], variance, rtol=1e-9)

    def test_rows_of_a_table_that_a_batch_leaves_out(self, nn_bench: NNBench) -> None:
        """Their gradient is 0, so that the velocity moves them all the same."""
        batches = [(np.array([0, 1, 1]),), (np.array([2, 1, 3]),), (np.array([3, 3, 3]),)]

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            table = nn.get_variable("table", (5, 2), dtype="float64", initializer=nn.ones)
            return ModelSpec(loss=nn.l2_loss(nn.gather(table, inputs[0])))

        momentum = [get_optimizer_fn("momentum", 0.1, momentum=0.5)]
        program = nn_bench.build(ModeKeys.TRAIN, batches, model_fn, optimizers=momentum)
        table, velocity = np.ones((5, 2)), np.zeros((5, 2))
        for (rows,) in batches:
            program.run_steps(1, Fetch(), never)
            velocity = 0.5 * velocity + np.bincount(rows, minlength=5)[:, None] * table
            table = table - 0.1 * velocity
        np.testing.assert_allclose(program.variables()["table"], table, rtol=1e-6)

    def test_dropout(self, nn_bench: NNBench) -> None:
        ones = np.ones((400, 25))

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            scale = nn.get_variable("scale", (), dtype="float64", initializer=nn.ones)
            y = nn.dropout(inputs[0] * scale, 0.8)
            return ModelSpec(loss=nn.reduce_mean(y), output_info={"y": y})

        program = nn_bench.build(
            ModeKeys.TRAIN, [(ones,)] * 2, model_fn, optimizers=[get_optimizer_fn("sgd", 0.0)]
        )
        first, second = (
            program.run_steps(1, Fetch(outputs=True), never).outputs[0]["y"] for _ in range(2)
        )
        np.testing.assert_allclose(np.unique(first), [0.0, 1.25])
        assert abs((first > 0).mean() - 0.8) < 0.03
        assert (first != second).any()
        (kept,) = nn_bench.predict([(ones,)], model_fn)
        np.testing.assert_array_equal(kept["y"], ones)

    def test_two_towers_are_one_with_both_batches(self, nn_bench: NNBench) -> None:
        _require(nn_bench, "towers")
        batches = _rows(8)
        momentum = [get_optimizer_fn("momentum", 0.1)]
        program = nn_bench.build(ModeKeys.TRAIN, batches, _linear, optimizers=momentum, towers=2)
        assert program.run_steps(4, Fetch(), never).steps == 4
        pairs = [
            tuple(np.concatenate(parts) for parts in zip(a, b, strict=True))
            for a, b in zip(batches[::2], batches[1::2], strict=True)
        ]
        whole = nn_bench.build(ModeKeys.TRAIN, pairs, _linear, optimizers=momentum)
        whole.run_steps(4, Fetch(), never)
        np.testing.assert_allclose(program.variables()["w"], whole.variables()["w"], rtol=1e-9)

    def test_only_the_first_tower_moves_the_averages(self, nn_bench: NNBench) -> None:
        _require(nn_bench, "towers")
        batches = _images(2)
        two = nn_bench.build(ModeKeys.TRAIN, batches, _conv_net, towers=2)
        one = nn_bench.build(ModeKeys.TRAIN, batches, _conv_net)
        assert [program.run_steps(1, Fetch(), never).steps for program in (two, one)] == [1, 1]
        moving = "net/conv1/BatchNorm/moving_mean"
        found = two.variables()[moving]
        assert (found != 0).any()
        np.testing.assert_allclose(found, one.variables()[moving], rtol=1e-5)

    def test_evaluation_in_the_middle_of_training(self, nn_bench: NNBench) -> None:
        _require(nn_bench, "inter_mode")
        batches = _images(4)
        rate = [get_optimizer_fn("sgd", 0.1)]
        results = []
        for program in (
            nn_bench.build(
                ModeKeys.TRAIN, batches, _conv_net, optimizers=rate, inter_mode=ModeKeys.EVAL
            ),
            _reference_program(batches, rate, inter_mode=ModeKeys.EVAL),
        ):
            program.run_steps(3, Fetch(), never)
            before = program.variables()
            (hook,) = program.inter_hooks
            assert isinstance(hook, MonitorHook)
            rows = program.evaluate(hook.monitor_info, 2, never)
            assert [samples for _, samples in rows] == [8, 8]
            for name, value in program.variables().items():
                np.testing.assert_array_equal(value, before[name], err_msg=name)
            assert [list(values) for values, _ in rows] == [list(hook.monitor_info)] * 2
            results.append([list(values.values()) for values, _ in rows])
        np.testing.assert_allclose(results[0], results[1], rtol=1e-3, atol=1e-5)

    def test_two_losses_with_scopes(self, nn_bench: NNBench) -> None:
        _require(nn_bench, "multi_loss")

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            products = []
            for scope in ("a", "b"):
                with nn.variable_scope(scope):
                    one = nn.get_variable("w", (3, 2), dtype="float64", initializer=nn.ones)
                products.append(nn.matmul(inputs[0], one))
            both = nn.reduce_mean(products[0] * products[1])
            return ModelSpec(loss=[both, both * 3.0], var_scopes=[["a"], ["b"]])

        batch = _rows(1)[0]
        optimizers = [get_optimizer_fn("sgd", 0.1), get_optimizer_fn("sgd", 0.2)]
        program = nn_bench.build(ModeKeys.TRAIN, [batch], model_fn, optimizers=optimizers)
        program.run_steps(1, Fetch(), never)
        product = batch[0] @ np.ones((3, 2))
        gradient = batch[0].T @ product / product.size
        found = program.variables()
        np.testing.assert_allclose(found["a/w"], 1 - 0.1 * gradient, rtol=1e-9)
        np.testing.assert_allclose(found["b/w"], 1 - 0.2 * 3 * gradient, rtol=1e-9)

    def test_a_batch_of_another_size(self, nn_bench: NNBench) -> None:
        sizes = (8, 3, 5)
        batches = [_images(1, size=size)[0] for size in sizes]
        outputs = nn_bench.predict(batches, _conv_net)
        assert [len(one["logits"]) for one in outputs] == list(sizes)

    def test_state_of_two_optimizers_of_one_variable(
        self, nn_bench: NNBench, tmp_path: Path
    ) -> None:
        _require(nn_bench, "multi_loss")

        def model_fn(inputs: Any, mode: Mode) -> ModelSpec:
            w = nn.get_variable("w", (3, 2), dtype="float64", initializer=nn.ones)
            product = nn.matmul(inputs[0], w)
            return ModelSpec(loss=[nn.l2_loss(product), nn.reduce_mean(product)])

        batches = _rows(6)
        adam = [get_optimizer_fn("adam", 0.1), get_optimizer_fn("adam", 0.2)]
        whole, begun = (
            nn_bench.build(ModeKeys.TRAIN, batches, model_fn, optimizers=adam) for _ in range(2)
        )
        whole.run_steps(6, Fetch(), never)
        begun.run_steps(3, Fetch(), never)
        names = {"w", "global_step"}
        for index, optimizer_fn in enumerate(adam):
            spec = optimizer_fn().for_loss(index)
            names |= {f"w/{slot.suffix}" for slot in spec.slots} | spec.scalars.keys()
        assert set(begun.variables()) == names
        begun.save(str(tmp_path / "a"))
        resumed = nn_bench.build(ModeKeys.TRAIN, batches[3:], model_fn, optimizers=adam)
        resumed.restore(str(tmp_path / "a"), lambda name: True)
        resumed.run_steps(3, Fetch(), never)
        wanted = whole.variables()
        for name, value in resumed.variables().items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-7, err_msg=name)


def _require(nn_bench: NNBench, capability: str) -> None:
    engine = nn_bench.engine()
    if not getattr(engine.capabilities, capability):
        pytest.skip(f"engine {engine.name!r} does not declare {capability}")


def _losses(program: Program, count: int) -> list[float]:
    return [program.run_steps(1, Fetch(values=True), never).values[0]["loss"] for _ in range(count)]


def _reference_program(
    batches: Any, optimizers: list[Callable[[], Any]], **request: Any
) -> Program:
    engine = ToyEngine()
    engine.setup(EngineConfig(towers=1, get_flag=get_flag))
    return engine.build(
        ProgramRequest(
            ModeKeys.TRAIN,
            input_fn=lambda mode: list(batches),
            model_fn=_conv_net,
            optimizer_fns=tuple(optimizers),
            neutral=True,
            **request,
        )
    )
