"""What takes the place of names that are gone from TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NEEDS_PACKAGE", "replacement"]

NEEDS_PACKAGE = (
    "{symbol} comes from the package {package} today, which is not installed.\n"
    "  Install it with:  pip install 'mox-compat[tf1]'"
)

_ESTIMATORS = (
    "Estimators are gone since TensorFlow 2.16: write input_fn and model_fn for mox.run, which "
    "trains, evaluates and exports them."
)
_REPLACED: Mapping[str, str] = {
    "tf.batch_matmul": "Use tf.matmul.",
    "tf.complex_abs": "Use tf.abs.",
    "tf.concat_v2": "Use tf.concat.",
    "tf.contrib.batching": "Use tf.nondifferentiable_batch_function, or tf.data's batch.",
    "tf.contrib.cluster_resolver": "Use tf.distribute.cluster_resolver.",
    "tf.contrib.compiler": "Use tf.xla.experimental, or the flag --xla of mox.",
    "tf.contrib.crf": "Use tensorflow_addons.text, or write it out with tf.scan.",
    "tf.contrib.cudnn_rnn": "Use tf.keras.layers.LSTM or tf.nn.dynamic_rnn.",
    "tf.contrib.data": "Use tf.data or tf.data.experimental.",
    "tf.contrib.distribute": "Use tf.distribute.",
    "tf.contrib.eager": "Use the functions of tensorflow's own namespace.",
    "tf.contrib.estimator": _ESTIMATORS,
    "tf.contrib.image": "Use tf.image, or keras.preprocessing.image for rotations.",
    "tf.contrib.layers": "Use tf_slim.layers, tf.layers or tf.nn.",
    "tf.contrib.learn": _ESTIMATORS,
    "tf.contrib.legacy_seq2seq": "Write the decoder out with tf.nn.raw_rnn or tf.while_loop.",
    "tf.contrib.lookup": "Use tf.lookup.",
    "tf.contrib.memory_stats": "Use tf.config.experimental.get_memory_info.",
    "tf.contrib.opt": "Use an optimizer of tf.train.",
    "tf.contrib.quantize": "Use tf.lite.TFLiteConverter with optimizations.",
    "tf.contrib.rnn": "Use tf.nn.rnn_cell or tf.keras.layers.",
    "tf.contrib.seq2seq": "Write the decoder out with tf.nn.raw_rnn or tf.while_loop.",
    "tf.contrib.slim": "Use tf_slim's other functions, tf.layers or tf.nn.",
    "tf.contrib.tpu": "Use tf.tpu and tf.distribute.",
    "tf.contrib.training": "Use tf.train or mox.run.",
    "tf.contrib": "TensorFlow 2 dissolved it; docs/migrate.md lists what is offered.",
    "tf.div_no_nan": "Use tf.math.divide_no_nan.",
    "tf.estimator": _ESTIMATORS,
    "tf.examples": "Only tensorflow.examples.tutorials.mnist.input_data is offered.",
    "tf.histogram_summary": "Use tf.summary.histogram.",
    "tf.image_summary": "Use tf.summary.image.",
    "tf.initialize_local_variables": "Use tf.local_variables_initializer.",
    "tf.merge_all_summaries": "Use tf.summary.merge_all.",
    "tf.merge_summary": "Use tf.summary.merge.",
    "tf.models": "Its networks are offered by mox.get_model_fn.",
    "tf.mul": "Use tf.multiply.",
    "tf.neg": "Use tf.negative.",
    "tf.nn.seq2seq": "Write the decoder out with tf.nn.raw_rnn or tf.while_loop.",
    "tf.nn.rnn": "Use tf.nn.static_rnn.",
    "tf.nn.bidirectional_rnn": "Use tf.nn.static_bidirectional_rnn.",
    "tf.ops": "Use the functions of tensorflow's own namespace.",
    "tf.pack": "Use tf.stack.",
    "tf.scalar_summary": "Use tf.summary.scalar.",
    "tf.select": "Use tf.where.",
    "tf.sub": "Use tf.subtract.",
    "tf.train.SummaryWriter": "Use tf.summary.FileWriter.",
    "tf.unpack": "Use tf.unstack.",
}


def replacement(symbol: str) -> str:
    """Returns a sentence about what to use in place of `tf.x.y`."""
    prefix = symbol
    while prefix:
        if prefix in _REPLACED:
            return _REPLACED[prefix]
        prefix = prefix.rpartition(".")[0]
    return f"Its successor may be in tensorflow: search for {symbol.rpartition('.')[2]} there."
