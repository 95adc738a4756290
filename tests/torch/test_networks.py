"""Networks of the zoo in native scripts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mox_core
import mox_torch as mox
from mox_core import nn
from mox_core.engine import EngineConfig, Fetch, ProgramRequest
from mox_core.errors import SpecError
from mox_core.flags import get_flag
from mox_core.spec import ModeKeys

TRAIN, EVAL, PREDICT, EXPORT = ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT, ModeKeys.EXPORT


def model_fn(inputs, mode, *, scope="", **options):
    images, labels = inputs
    with mox.var_scope("towers"):
        options = {"num_classes": 3, "weight_decay": 0.1, **options}
        logits, end_points = mox.get_model_fn("mobilenet_v1_025", mode, **options)(images)
    penalty = torch.stack(mox.get_collection("regularization_losses")).sum()
    loss = F.cross_entropy(logits, labels) + penalty
    info = {"loss": loss, "penalty": penalty}
    export = None
    if mode == EXPORT:
        export = mox.ExportSpec({"images": images}, {"probabilities": end_points["Predictions"]})
    return mox.ModelSpec(
        loss=loss, log_info=info, output_info={"logits": logits}, export_spec=export
    )


def batches(count=2, *, dtype=torch.uint8, size=33):
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randint(0, 255, (4, size, size, 3), generator=random)
        yield images.to(dtype), torch.randint(0, 3, (4,), generator=random)


def build(mode, model_fn=model_fn, data=None, **request):
    engine = mox.TorchEngine()
    engine.setup(EngineConfig(towers=1, get_flag=get_flag))
    if mode == TRAIN:
        request["optimizer_fns"] = (lambda: torch.optim.SGD(mox.parameters(), lr=0.01),)
    given = list(batches()) if data is None else data
    return engine.build(ProgramRequest(mode, lambda mode: given, model_fn, **request))


def advance(program, count=1, **fetch):
    results = program.run_steps(count, Fetch(**fetch), lambda: False)
    assert results.steps == count
    return results


def test_a_native_script_trains_and_exports_what_a_neutral_one_describes(tmp_path):
    program = build(TRAIN)
    names = {info.name: info.shape for info in program.variable_infos()}
    scope = "towers/MobilenetV1"
    assert names[f"{scope}/Conv2d_1_depthwise/depthwise_weights"] == (3, 3, 8, 1)
    assert names[f"{scope}/Logits/Conv2d_1c_1x1/weights"] == (1, 1, 256, 3)
    first = program.variables()
    penalty = advance(program, values=True).values[0]["penalty"]
    decayed = [n for n in first if n.endswith("weights") and "depthwise" not in n]
    assert penalty == pytest.approx(0.1 * sum((first[n] ** 2).sum() / 2 for n in decayed), rel=1e-4)
    trained = program.variables()
    changed = {name for name in first if not np.array_equal(first[name], trained[name])}
    assert {f"{scope}/Conv2d_0/BatchNorm/moving_mean", *decayed} <= changed
    program.save(str(tmp_path / "a"))

    def neutral(inputs, mode):
        with nn.variable_scope("towers"):
            logits, _ = mox_core.get_model_fn("mobilenet_v1_025", mode, 3)(inputs[0])
        return mox.ModelSpec(output_info={"logits": logits})

    found = []
    for function, is_neutral in [(model_fn, False), (neutral, True)]:
        predicting = build(PREDICT, function, neutral=is_neutral)
        assert not predicting.restore(str(tmp_path / "a"), lambda name: True, state=False).missing
        found.append(advance(predicting, outputs=True).outputs[0]["logits"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)

    exporting = build(EXPORT, input_spec=program.input_spec)
    exporting.restore(str(tmp_path / "a"), lambda name: True, state=False)
    exporting.export("torch_export", str(tmp_path / "model"))
    model = torch.export.load(tmp_path / "model" / "model.pt2").module()
    images = next(batches())[0]
    expected = torch.softmax(torch.as_tensor(found[0]), 1)
    torch.testing.assert_close(model(images)["probabilities"], expected, rtol=1e-3, atol=1e-5)


def test_two_calls_in_one_scope_share_their_variables():
    def twice(inputs, mode):
        spec = model_fn(inputs, mode)
        return mox.ModelSpec(loss=spec.loss + model_fn(inputs, mode).loss, log_info=spec.log_info)

    once, both = build(TRAIN), build(TRAIN, twice)
    assert both.variable_infos() == once.variable_infos()
    values = [advance(one, values=True).values[0]["penalty"] for one in (once, both)]
    assert values[0] == pytest.approx(values[1])


def test_the_users_own_preprocessing_gets_native_images():
    seen = []

    def preprocess(images):
        seen.append(type(images))
        return images.float() / 255

    program = build(EVAL, lambda inputs, mode: model_fn(inputs, mode, preprocess_fn=preprocess))
    advance(program, 2)
    assert set(seen) == {torch.Tensor}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(4, 3, 32, 32), "looks like NCHW.*permute"),
        (torch.zeros(4, 32, 32), r"expected images .*got \(4, 32, 32\)"),
    ],
)
def test_images_that_do_not_fit(images, message):
    with pytest.raises(SpecError, match=f"(?s){message}"):
        build(EVAL, data=[(images, torch.zeros(4, dtype=torch.int64))])


def test_a_network_outside_of_model_fn():
    with pytest.raises(SpecError, match=r"get_model_fn\('lenet'\) is called outside of model_fn"):
        mox.get_model_fn("lenet", EVAL, 10)(torch.zeros(1, 28, 28, 1))
