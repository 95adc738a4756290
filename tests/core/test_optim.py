from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

from mox_core.errors import SpecError
from mox_core.optim import (
    OPTIMIZER_NAMES,
    OPTIMIZERS,
    REQUIRED,
    as_schedule,
    constant,
    linear_cosine_decay,
    optimizer_defaults,
    piecewise_lr,
    polynomial_decay,
    warm_up,
)

MANUAL = "5:0.1->0.4,10:0.4=>0.8,15:0.8,20:0.08"

SCHEDULES = {
    "constant": constant(0.25),
    "piecewise": piecewise_lr(MANUAL, 1000, 30),
    "linear_cosine": linear_cosine_decay(0.5, 300, num_periods=1.5, alpha=0.1, beta=0.01),
    "polynomial": polynomial_decay(0.5, 70, power=2.0),
    "polynomial_cycle": polynomial_decay(0.5, 70, end_learning_rate=0.01, power=0.5, cycle=True),
    "warm_up": warm_up(piecewise_lr(MANUAL, 1000, 30), 100, start=0.01),
}


# --- piecewise_lr ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),
        (10, 0.16),  # a fifth of the way from 0.1 to 0.4
        (49, 0.394),
        (50, 0.4),
        (51, 0.4 * 2 ** (1 / 50)),
        (75, 0.4 * math.sqrt(2)),
        (99, 0.4 * 2 ** (49 / 50)),
        (100, 0.8),
        (149, 0.8),
        (150, 0.08),
        (199, 0.08),
        (200, 0.08),
        (10**9, 0.08),
    ],
)
def test_the_string_of_the_manual_with_ten_steps_an_epoch(step, expected):
    assert piecewise_lr(MANUAL, 1000, 100)(step) == pytest.approx(expected, rel=1e-12)


def test_bounds_between_steps():
    # 10 samples in batches of 4: the first epoch ends at step 2.5.
    schedule = piecewise_lr("1:0.1,2.5:0.2->0.4", 10, 4)
    assert [schedule(step) for step in (0, 2)] == [0.1, 0.1]
    assert schedule(3) == pytest.approx(0.2 + 0.2 * 0.5 / 3.75, rel=1e-12)
    assert schedule(7) == pytest.approx(0.4, rel=1e-12)


def test_a_last_segment_that_moves_stays_at_its_end():
    schedule = piecewise_lr("1:0.1->0.3", 10, 1)
    assert schedule(10) == pytest.approx(0.3, rel=1e-12)
    assert schedule(1000) == pytest.approx(0.3, rel=1e-12)
    schedule = piecewise_lr("1:0.1=>1e-30", 10, 1)
    assert schedule(10**6) == pytest.approx(1e-30, rel=1e-12)


def test_spaces_and_exponents_are_fine():
    schedule = piecewise_lr(" 1 : 1e-3 -> 1e-1 , 2.0:5e-2", 10, 1)
    assert schedule(5) == pytest.approx(0.0505, rel=1e-12)
    assert schedule(15) == 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "10:0.1,5:0.2",
            "the epoch must be greater than 10\n  10:0.1,5:0.2\n         ^",
        ),
        ("0:0.1", "the epoch must be greater than 0\n  0:0.1\n  ^"),
        (
            "5:0.1->fast,10:0.2",
            "expected a learning rate\n  5:0.1->fast,10:0.2\n         ^^^^",
        ),
        (
            "5:0.1->0.2->0.3",
            "expected a learning rate\n  5:0.1->0.2->0.3\n         ^^^^^^^^",
        ),
        (
            "5:0.1, 10 0.2",
            "expected 'epoch:learning rate', such as '10:0.01'\n  5:0.1, 10 0.2\n         ^^^^^^",
        ),
        ("5:0.1,", "expected 'epoch:learning rate', such as '10:0.01'\n  5:0.1,\n        ^"),
        ("", "expected 'epoch:learning rate', such as '10:0.01'\n  \n  ^"),
        ("x:0.1", "expected the epoch where the segment ends\n  x:0.1\n  ^"),
        ("inf:0.1", "expected the epoch where the segment ends\n  inf:0.1\n  ^^^"),
        (
            "5:",
            "expected a learning rate, 'a->b' (linear) or 'a=>b' (exponential)\n  5:\n    ^",
        ),
        (
            "5:-0.1",
            "expected a learning rate, 'a->b' (linear) or 'a=>b' (exponential)\n  5:-0.1\n    ^^^^",
        ),
        (
            "5:0=>0.1",
            "exponential change ('=>') needs values above 0\n  5:0=>0.1\n    ^^^^^^",
        ),
    ],
)
def test_bad_strings_point_at_the_bad_part(text, message):
    with pytest.raises(SpecError) as caught:
        piecewise_lr(text, 1000, 100)
    assert str(caught.value) == f"piecewise_lr: {message}"


def test_bad_arguments_of_piecewise_lr():
    with pytest.raises(SpecError, match="num_samples must be a number greater than 0, not 0"):
        piecewise_lr("1:0.1", 0, 100)
    with pytest.raises(SpecError, match="global_batch_size must be .* not None"):
        piecewise_lr("1:0.1", 100, None)
    with pytest.raises(SpecError, match="lr_strategy must be a string, not 0.1"):
        piecewise_lr(0.1, 100, 10)


# --- the other schedules --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # (1 - d) (1 + cos(pi d)) / 2 + 0.001 at d = 0, 1/3, 1/2, 2/3, 1, 1
        (0, 1.001),
        (100, 2 / 3 * 0.75 + 0.001),
        (150, 0.5 * 0.5 + 0.001),
        (200, 1 / 3 * 0.25 + 0.001),
        (300, 0.001),
        (1000, 0.001),
    ],
)
def test_linear_cosine_decay(step, expected):
    assert linear_cosine_decay(0.2, 300)(step) == pytest.approx(0.2 * expected, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "straight", "squared", "cycled"),
    [
        (0, 1.0, 1.0, 1.0),
        (25, 0.775, 0.60625, 0.775),
        (50, 0.55, 0.325, 0.55),
        (100, 0.1, 0.1, 0.1),
        (101, 0.1, 0.1, 0.1 + 0.9 * 99 / 200),
        (150, 0.1, 0.1, 0.325),
        (200, 0.1, 0.1, 0.1),
        (250, 0.1, 0.1, 0.25),
    ],
)
def test_polynomial_decay(step, straight, squared, cycled):
    end = {"end_learning_rate": 0.1}
    assert polynomial_decay(1.0, 100, **end)(step) == pytest.approx(straight, rel=1e-12)
    assert polynomial_decay(1.0, 100, power=2, **end)(step) == pytest.approx(squared, rel=1e-12)
    assert polynomial_decay(1.0, 100, cycle=True, **end)(step) == pytest.approx(cycled, rel=1e-12)


def test_warm_up_rises_to_the_schedule_and_then_follows_it():
    inner = polynomial_decay(1.0, 100, end_learning_rate=0.0)
    schedule = warm_up(inner, 20, start=0.2)
    assert schedule(0) == pytest.approx(0.2)
    assert schedule(10) == pytest.approx(0.5)  # half of the way from 0.2 to 0.8
    assert schedule(19) == pytest.approx(0.77)
    assert schedule(20) == inner(20) == pytest.approx(0.8)
    assert schedule(60) == inner(60)


def test_warm_up_of_a_number_and_of_no_steps():
    assert [warm_up(0.4, 4)(step) for step in range(6)] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4, 0.4]
    )
    assert warm_up(0.4, 0)(0) == 0.4


def test_as_schedule():
    schedule = polynomial_decay(1.0, 10)
    assert as_schedule(schedule) is schedule
    assert as_schedule(3)(100) == 3.0
    assert isinstance(as_schedule(3)(100), float)
    with pytest.raises(SpecError, match="learning_rate must be a finite number, not 'fast'"):
        as_schedule("fast")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constant(-0.1), "learning_rate must not be negative: -0.1"),
        (lambda: constant(math.nan), "learning_rate must be a finite number, not nan"),
        (lambda: polynomial_decay(0.1, 0), "decay_steps must be greater than 0: 0"),
        (lambda: polynomial_decay(0.1, 10, power=0), "power must be greater than 0: 0"),
        (lambda: linear_cosine_decay(0.1, -3), "decay_steps must be greater than 0: -3"),
        (lambda: linear_cosine_decay(0.1, 3, alpha=None), "alpha must be a finite number"),
        (lambda: warm_up(0.1, -1), "steps must not be negative: -1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(SpecError, match=message):
        call()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_schedules_are_frozen_values(schedule):
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.learning_rate = 1.0


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_other_operations_give_the_same_values(schedule):
    np = pytest.importorskip("numpy")

    class NumpyOps:
        def to_float(self, value):
            return np.asarray(value, np.float64)

        where = staticmethod(np.where)
        less = staticmethod(np.less)
        minimum = staticmethod(np.minimum)
        maximum = staticmethod(np.maximum)
        ceil = staticmethod(np.ceil)
        power = staticmethod(np.power)
        cos = staticmethod(np.cos)

    steps = np.arange(800)
    expected = [schedule(int(step)) for step in steps]
    values = np.broadcast_to(schedule.evaluate(steps, NumpyOps()), steps.shape)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, expected, rtol=1e-12)


# --- optimizer names ------------------------------------------------------------------------


def test_the_seven_optimizers_of_the_manual():
    assert OPTIMIZER_NAMES == (
        "adadelta",
        "adagrad",
        "adam",
        "ftrl",
        "momentum",
        "rmsprop",
        "sgd",
    )
    assert optimizer_defaults("adam") == {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert optimizer_defaults("momentum")["momentum"] is REQUIRED
    with pytest.raises(TypeError):
        OPTIMIZERS["adam"]["beta1"] = 0.5


def test_an_unknown_optimizer():
    with pytest.raises(SpecError) as caught:
        optimizer_defaults("sdg")
    assert str(caught.value) == (
        "unknown optimizer 'sdg'; known: adadelta, adagrad, adam, ftrl, momentum, rmsprop, sgd."
        " Did you mean 'sgd'?"
    )
    with pytest.raises(ValueError, match="unknown optimizer None"):
        optimizer_defaults(None)
