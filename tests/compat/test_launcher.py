"""`mox run --tf1` and `python -m moxing`: who sees which TensorFlow, and what errors say."""

from __future__ import annotations

import pytest

from .conftest import SCRIPTS

pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
pytest.importorskip("tf_slim")

# What a script does, line 2 of its file -> what mox says of it.
SNIPPETS = {
    "contrib_import": (
        "from tensorflow.contrib import seq2seq",
        "contrib_import.py, line 2: today's TensorFlow has no tf.contrib.seq2seq. "
        "| Write the decoder out with tf.nn.raw_rnn or tf.while_loop.",
    ),
    "contrib_attribute": (
        "tf.contrib.crf.crf_log_likelihood",
        "contrib_attribute.py, line 2: today's TensorFlow has no tf.contrib.crf. "
        "| Use tensorflow_addons.text, or write it out with tf.scan.",
    ),
    "contrib_module": (
        "import tensorflow.contrib.cudnn_rnn as cudnn",
        "contrib_module.py, line 2: today's TensorFlow has no tf.contrib.cudnn_rnn. "
        "| Use tf.keras.layers.LSTM or tf.nn.dynamic_rnn.",
    ),
    "contrib_name": (
        "from tensorflow.contrib.layers import no_such_layer",
        "contrib_name.py, line 2: today's TensorFlow has no tf.contrib.layers.no_such_layer. "
        "| Use tf_slim.layers, tf.layers or tf.nn.",
    ),
    "estimator": (
        "tf.estimator.Estimator(None)",
        "estimator.py, line 2: today's TensorFlow has no tf.estimator. | Estimators are gone since "
        "TensorFlow 2.16: write input_fn and model_fn for mox.run, which trains, evaluates and "
        "exports them.",
    ),
    "summary_writer": (
        "tf.train.SummaryWriter('x')",
        "summary_writer.py, line 2: today's TensorFlow has no tf.train.SummaryWriter. "
        "| Use tf.summary.FileWriter.",
    ),
    "typo": (
        "tf.nn.softmax_crossentropy_with_logits",
        "typo.py, line 2: today's TensorFlow has no tf.nn.softmax_crossentropy_with_logits. "
        "| Did you mean tf.nn.softmax_cross_entropy_with_logits?",
    ),
    "private": (
        "from tensorflow.python.training import no_such_name",
        "private.py, line 2: today's TensorFlow has no tf.python.training.no_such_name. "
        "| Its successor may be in tensorflow: search for no_such_name there.",
    ),
    "in_a_function": (
        "def f():\n    return tf.mul(1, 2)\nf()",
        "in_a_function.py, line 3: today's TensorFlow has no tf.mul. | Use tf.multiply.",
    ),
    "hasattr": ("assert not hasattr(tf, 'no_such_thing') and hasattr(tf, 'placeholder')", "fine"),
    "try_import": (
        "try:\n    from tensorflow.contrib import crf\nexcept ImportError:\n    crf = None",
        "fine",
    ),
    "moxing_name": (
        "import moxing.tensorflow as mox; mox.no_such_name",
        "moxing_name.py, line 2: mox does not offer moxing.tensorflow.no_such_name of MoXing. "
        "| docs/migrate.md lists what it offers, and what to use instead.",
    ),
    "moxing_run": (
        "import moxing as mox; mox.run",
        "moxing_run.py, line 2: moxing.run is in moxing.tensorflow and moxing.pytorch. "
        "| Write:  import moxing.tensorflow as mox",
    ),
    "mnist_missing": (
        "from tensorflow.examples.tutorials.mnist import input_data\n"
        "input_data.read_data_sets('nowhere')",
        "MNIST: there is no train-images-idx3-ubyte.gz in nowhere. | The address that "
        "TensorFlow 1 downloaded it from is gone: put the four files there.",
    ),
    "pieces": (
        """
import numpy as np
slim = tf.contrib.slim
from tensorflow.contrib import layers, rnn, slim as slim2, lookup
import tensorflow.contrib.slim as slim3
import tensorflow.contrib.layers as layers2
from tensorflow.contrib.slim.nets import resnet_v1
from tensorflow.contrib.layers import xavier_initializer, l2_regularizer
from tensorflow.contrib.framework.python.ops import add_arg_scope, arg_scope
from tensorflow.contrib.framework import get_or_create_global_step, nest
from tensorflow.contrib.data import batch_and_drop_remainder
from tensorflow.contrib.learn.python.learn.datasets.mnist import read_data_sets
from tensorflow.python.framework import ops
from tensorflow.python.client import device_lib
from tensorflow.python.ops import array_ops
import tensorflow.python.ops.nn_ops as nn_ops
from tensorflow.python.keras.layers import Dense
import tensorflow.keras as tk
from tensorflow import keras, layers as tf_layers
import keras as standalone
from keras.layers.core import Dense as CoreDense
from keras.utils.np_utils import to_categorical
from keras import backend as K
assert slim is slim2 is slim3 and layers is layers2
assert Dense is CoreDense is tk.layers.Dense is keras.layers.Dense is standalone.layers.Dense
assert K.get_session and ops.Tensor and tf.contrib.training.HParams(a=1).parse('a=2').a == 2
dataset = tf.data.Dataset.range(10).apply(batch_and_drop_remainder(4))
batch = dataset.make_one_shot_iterator().get_next()
table = tf.contrib.lookup.index_to_string_table_from_tensor(tf.constant(['a', 'b']))
x = tf.placeholder(tf.float32, [None, 8, 8, 3])
with slim.arg_scope([slim.conv2d], normalizer_fn=slim.batch_norm,
                    weights_initializer=xavier_initializer()):
    net = slim.conv2d(x, 4, [3, 3], scope='conv')
net = tf.contrib.layers.flatten(tf.layers.max_pooling2d(net, 2, 2))
cell = tf.contrib.rnn.BasicLSTMCell(5)
out, _ = tf.nn.dynamic_rnn(cell, tf.expand_dims(net, 1), dtype=tf.float32)
with tf.Session() as sess:
    sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
    assert sess.run(out, {x: np.zeros([2, 8, 8, 3])}).shape == (2, 1, 5)
    assert sess.run(batch).shape == (4,)
    assert sess.run(table.lookup(tf.constant([1], tf.int64)))[0] == b'b'
assert 'conv/BatchNorm/moving_mean' in [v.op.name for v in tf.global_variables()]
""",
        "fine",
    ),
}


@pytest.fixture(scope="module")
def explained(same_user):
    """What is said of each snippet; one process runs them all."""
    script = same_user.write((SCRIPTS / "explain_snippets.py").read_text(), "main.py")
    for name, (source, _) in SNIPPETS.items():
        (same_user.folder / f"{name}.py").write_text(f"# a snippet\n{source}\n")
    output = same_user.launch(script, *(f"{name}.py" for name in SNIPPETS))
    return dict(line.split(".py => ", 1) for line in output.splitlines() if ".py => " in line)


@pytest.mark.parametrize("name", SNIPPETS)
def test_what_a_script_of_tensorflow_1_gets(explained, name):
    assert explained[name] == SNIPPETS[name][1]


def test_an_error_is_two_lines_and_with_mox_debug_a_traceback(user):
    script = user.write("import tensorflow as tf\n\ntf.train.SummaryWriter('logs')\n")
    output = user.mox("run", "--tf1", script, code=1)
    assert output.endswith(
        "mox: error: train.py, line 3: today's TensorFlow has no tf.train.SummaryWriter.\n"
        "  Use tf.summary.FileWriter.\n"
    )
    output = user.launch(script, code=1, MOX_DEBUG="1")
    assert "Traceback" in output
    assert "AttributeError: module" in output


def test_without_the_launcher_the_traceback_ends_in_how_to_run_the_script(user):
    script = user.write(
        "import tensorflow as tf, moxing.tensorflow as mox\n\nfrom tensorflow.contrib import slim\n"
    )
    output = user.python(script, code=1)
    assert "Traceback" in output
    assert output.endswith(
        "mox: error: train.py, line 3: tensorflow.contrib is of TensorFlow 1; "
        "`import tensorflow` is version 2.\n"
        f"  Run the script with:  mox run --tf1 {script}\n"
    )
    script.write_text("import tensorflow as tf\ntf.get_variable\n")
    output = user.mox("run", script, code=1)
    assert "train.py, line 2: tf.get_variable is of TensorFlow 1" in output


def test_own_modules_see_tensorflow_1_and_installed_ones_todays(user):
    user.write("import tensorflow as tf\nVIEW = tf\n", "beside.py")
    user.write("import tensorflow as tf\nVIEW = tf\n", "nets/inner/deep.py")
    user.write("import tensorflow as tf\nVIEW = tf\n", "lib/on_pythonpath.py")
    user.write("import tensorflow as tf\nVIEW = tf\n", "other/appended.py")
    user.write("import tensorflow as tf\nVIEW = tf\n", "site-packages/installed.py")
    script = user.write(
        """
        import sys
        import tensorflow as tf
        sys.path += ['other', 'site-packages']
        import beside, on_pythonpath, appended, installed
        from nets.inner import deep
        for module in (beside, on_pythonpath, appended, deep):
          assert module.VIEW is tf, module
          assert module.VIEW.placeholder
        assert installed.VIEW is not tf and installed.VIEW.compat.v1 is tf
        assert not hasattr(installed.VIEW, 'placeholder')
        assert sys.maxint == sys.maxsize
        assert not tf.executing_eagerly()
        print('ALL SEE WHAT THEY SHOULD')
        """
    )
    output = user.launch(script, PYTHONPATH=str(user.folder / "lib"))
    assert "ALL SEE WHAT THEY SHOULD" in output


def test_a_script_without_tensorflow_does_not_load_it(user):
    script = user.write(
        """
        import sys
        import moxing as mox
        assert not {'tensorflow', 'numpy', 'keras'} & set(sys.modules)
        print(sys.maxint, sys.argv[1:])
        """
    )
    assert user.launch(script, "--data_url", "x").endswith("['--data_url', 'x']\n")


def test_without_the_flag_nothing_changes(user):
    script = user.write("import sys; print(hasattr(sys, 'maxint'))")
    assert user.mox("run", script) == "False\n"
