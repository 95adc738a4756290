"""Writing a SavedModel for TF Serving."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mox_core.errors import ExportError, SpecError
from mox_core.spec import ExportKeys, ExportSpec
from mox_core.wording import a_type
from mox_tf.failures import first_line
from mox_tf.tf1 import VARIABLE, tf

__all__ = ["FORMATS", "SIGNATURE", "write_saved_model"]

FORMATS = (ExportKeys.TF_SERVING,)

SIGNATURE = "predict_object"
"""Key of the signature, as MoXing's users and ModelArts know it."""


def write_saved_model(spec: ExportSpec, directory: str, *, session: Any, saver: Any) -> None:
    """Writes the session's graph and variables.

    Args:
        spec: inputs and outputs of the signature.
        directory: must not exist, or be empty.
        session: holds the variables; its graph must not be finalized.
        saver: of the variables.

    Raises:
        SpecError: an input or output is no tensor of the graph.
        ExportError: it cannot be written.
    """
    graph = session.graph
    with graph.as_default():
        inputs = _tensors("inputs_dict", spec.inputs_dict, graph)
        outputs = _tensors("outputs_dict", spec.outputs_dict, graph)
        given = {id(tensor) for tensor in inputs.values()}
        # TensorFlow's callables refuse a tensor that is both fed and fetched.
        outputs = {
            name: tf.identity(tensor) if id(tensor) in given else tensor
            for name, tensor in outputs.items()
        }
        signature = tf.saved_model.build_signature_def(
            {name: tf.saved_model.build_tensor_info(one) for name, one in inputs.items()},
            {name: tf.saved_model.build_tensor_info(one) for name, one in outputs.items()},
            tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
        main_op = tf.tables_initializer()
        logger = logging.getLogger("tensorflow")
        level = logger.level
        logger.setLevel(logging.WARNING)  # the builder would tell the staging folder's name
        try:
            builder = tf.saved_model.builder.SavedModelBuilder(directory)
            builder.add_meta_graph_and_variables(
                session,
                [tf.saved_model.tag_constants.SERVING],
                signature_def_map={SIGNATURE: signature},
                clear_devices=True,
                main_op=main_op,
                saver=saver,
                strip_default_attrs=True,
            )
            builder.save()
        except (tf.errors.OpError, OSError) as error:
            raise ExportError(f"{directory} cannot be written: {first_line(error)}") from error
        finally:
            logger.setLevel(level)


def _tensors(field: str, values: Mapping[str, Any], graph: Any) -> dict[str, Any]:
    tensors = {}
    for name, value in values.items():
        if isinstance(value, VARIABLE):
            value = value.value()
        if not tf.is_tensor(value) or value.graph is not graph:
            raise SpecError(
                f"ExportSpec.{field}[{name!r}] is {a_type(value)} that is no tensor of "
                "this model.\n  Give a tensor that model_fn got or made in mode EXPORT."
            )
        tensors[name] = value
    return tensors
