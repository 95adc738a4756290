"""How the MXNet engine spells the problem of EngineSuite."""

from __future__ import annotations

import json
import os

import mxnet as mx

import mox_mxnet as mox
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
    logits = mx.nd.broadcast_add(mx.nd.dot(features, weights), bias)
    return _softmax(features, labels, logits)


def model_of_blocks(inputs, scope, classes):
    features, labels = inputs
    net = mox.block(scope, lambda: _dense(classes))
    return _softmax(features, labels, net(features))


def _dense(classes):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(classes, weight_initializer="zeros"))
    net.hybridize()
    return net


def _softmax(features, labels, logits):
    loss = -mx.nd.pick(mx.nd.log_softmax(logits), labels).mean()
    accuracy = (logits.argmax(axis=1) == labels.astype("float32")).mean()
    return SoftmaxModel(features, logits, loss, accuracy)


def optimizer(learning_rate):
    return get_optimizer_fn("momentum", learning_rate, momentum=MOMENTUM)()


def native_optimizer(learning_rate):
    return mx.optimizer.SGD(learning_rate=learning_rate, momentum=MOMENTUM)


def load(export_format, directory):
    if export_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(os.path.join(directory, "model.onnx"))
        return lambda features: session.run(None, {"features": features})[0]
    with open(os.path.join(directory, "signature.json")) as file:
        assert list(json.load(file)["inputs"]) == ["features"]
    prefix = os.path.join(directory, "model")
    block = mx.gluon.SymbolBlock.imports(
        f"{prefix}-symbol.json", ["features"], f"{prefix}-0000.params"
    )
    return lambda features: block(mx.nd.array(features)).asnumpy()


WITH_VARIABLES = EngineProblem(inputs=inputs, model=model, optimizer=optimizer, load_exported=load)
WITH_BLOCKS = EngineProblem(
    inputs=inputs, model=model_of_blocks, optimizer=native_optimizer, load_exported=load
)
