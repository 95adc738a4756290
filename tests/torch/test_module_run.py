"""MoXing's PyTorch API: `mox.run(input_data=, model=, loss_fn=)` and `mox.dist`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

import mox_torch as mox
from mox_core.errors import SpecError
from mox_core.testing.engine_problem import CLASSES, FEATURES, make_batches


@pytest.fixture
def loader():
    parts = zip(*make_batches(10), strict=True)
    tensors = [torch.cat([torch.as_tensor(array) for array in part]) for part in parts]
    return mox.dist.AutoDataLoader(TensorDataset(*tensors), batch_size=8, shuffle=True)


def loss_fn(model, inputs):
    features, labels = inputs
    logits = model(features)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"loss": F.cross_entropy(logits, labels), "accuracy": accuracy}


def train(loader, model, log_dir, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    result = mox.run(
        input_data=loader,
        model=model,
        run_mode=mox.ModeKeys.TRAIN,
        log_dir=log_dir,
        optimizer=optimizer,
        scheduler=scheduler,
        loss_fn=loss_fn,
        **options,
    )
    return result, optimizer.param_groups[0]["lr"]


def test_trains_evaluates_and_predicts(loader, tmp_path):
    model = mox.dist.AutoModule(torch.nn.Linear(FEATURES, CLASSES))
    result, rate = train(loader, model, tmp_path, epoches=3, print_freq=5)
    assert (result.steps, rate) == (30, 0.0625)
    arguments = {"input_data": loader, "model": torch.nn.Linear(FEATURES, CLASSES)}
    evaluated = mox.run(**arguments, run_mode="EVAL", loss_fn=loss_fn, log_dir=tmp_path)
    assert evaluated.metrics["accuracy"] > 0.8
    outputs = []
    features = [batch[0] for batch in loader]
    mox.run(
        input_data=features,
        model=arguments["model"],
        run_mode="PREDICT",
        log_dir=tmp_path,
        output_fn=outputs.extend,
    )
    assert [output["output"].shape for output in outputs] == [(8, CLASSES)] * 10


def test_resumes_in_its_epoch(loader, tmp_path):
    train(loader, torch.nn.Linear(FEATURES, CLASSES), tmp_path, epoches=2)
    result, rate = train(loader, torch.nn.Linear(FEATURES, CLASSES), tmp_path, epoches=3)
    assert (result.steps, result.global_step, rate) == (10, 30, 0.0625)


def test_the_mean_of_a_meter_is_over_samples():
    meter = mox.AverageMeter()
    meter.update(1.0, n=3)
    meter.update(5.0)
    assert (meter.val, meter.sum, meter.count, meter.avg) == (5.0, 8.0, 4, 2.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"model": "resnet"}, "model is a str"), ({"loss_fn": None}, "loss_fn is missing")],
)
def test_arguments_that_do_not_fit(loader, changed, message):
    arguments = {"input_data": loader, "model": torch.nn.Linear(2, 2), "loss_fn": loss_fn}
    with pytest.raises(SpecError, match=message):
        mox.run(run_mode="EVAL", **{**arguments, **changed})
