"""How the PyTorch engine spells the problem of EngineSuite."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F

import mox_torch as mox
from mox_core.optim.spec import get_optimizer_fn
from mox_core.testing import EngineProblem, SoftmaxModel
from mox_core.testing.engine_problem import FEATURES, MOMENTUM


def inputs(source):
    return source


def model(inputs, scope, classes):
    features, labels = inputs
    with mox.var_scope(scope):
        weights = mox.get_variable("weights", (FEATURES, classes))
        bias = mox.get_variable("bias", (classes,))
    return _softmax(features, labels, features @ weights + bias)


def model_of_modules(inputs, scope, classes):
    features, labels = inputs
    net = mox.module(scope, lambda: _linear(classes))
    return _softmax(features, labels, net(features))


def _linear(classes):
    linear = torch.nn.Linear(FEATURES, classes)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    return linear


def _softmax(features, labels, logits):
    accuracy = (logits.argmax(dim=1) == labels).float().mean()
    return SoftmaxModel(features, logits, F.cross_entropy(logits, labels), accuracy)


def optimizer(learning_rate):
    return get_optimizer_fn("momentum", learning_rate, momentum=MOMENTUM)()


def native_optimizer(learning_rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=learning_rate, momentum=MOMENTUM)


def load(export_format, directory):
    if export_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(os.path.join(directory, "model.onnx"))
        return lambda features: session.run(["logits"], {"features": features})[0]
    program = torch.export.load(os.path.join(directory, "model.pt2")).module()
    return lambda features: program(torch.as_tensor(features))["logits"].detach().numpy()


WITH_VARIABLES = EngineProblem(inputs=inputs, model=model, optimizer=optimizer, load_exported=load)
WITH_MODULES = EngineProblem(
    inputs=inputs, model=model_of_modules, optimizer=native_optimizer, load_exported=load
)
