"""`import mox_tf`: what it loads, and how it makes TensorFlow behave."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("tensorflow")

import mox_core
import mox_tf
from mox_core.errors import EngineError

REPORT = """
import json, sys
v1 = sys.modules["tensorflow"].compat.v1
print(json.dumps({
    "eager": v1.executing_eagerly(),
    "resource_variables": v1.resource_variables_enabled(),
    "placeholder": v1.placeholder(v1.float32).dtype.name if not v1.executing_eagerly() else "",
}))
"""
GRAPH_MODE = {"eager": False, "resource_variables": True, "placeholder": "float32"}


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("TF_")}, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "imports",
    [
        "import mox_tf as mox; import tensorflow.compat.v1 as tf",
        "import tensorflow.compat.v1 as tf; import mox_tf as mox",
        # mox lists its plugins first, as `mox run` may do, and the script imports mox_tf later.
        "import mox_tf_plugin; import tensorflow.compat.v1 as tf; import mox_tf",
    ],
)
def test_the_order_of_imports_does_not_matter(imports):
    done = python(imports + "\n" + REPORT)
    assert json.loads(done.stdout) == GRAPH_MODE
    if imports.startswith("import mox_tf "):
        assert "cpu_feature_guard" not in done.stderr, "chatter of TensorFlow's C++ side"
    assert "deprecated" not in done.stderr
    assert "non-resource variables" not in done.stderr


def test_listing_plugins_leaves_tensorflow_alone():
    code = """
        import sys
        from mox_core.plugins import get_manager
        assert any(info.name == "tf" and info.state == "ok" for info in get_manager().infos())
        loaded = {name.split(".")[0] for name in sys.modules}
        print(sorted(loaded & {"tensorflow", "numpy", "mox_tf"}))
        import tensorflow as tf
        print(tf.executing_eagerly())
    """
    if not any(info.name == "tf" for info in mox_core_plugins()):
        pytest.skip("mox-tf is not installed, only importable")
    assert python(code).stdout.split("\n")[:2] == ["[]", "True"]


def mox_core_plugins():
    from mox_core.plugins import get_manager

    return get_manager().candidates("engine")


def test_importing_it_loads_neither_tensorflow_nor_numpy():
    code = """
        import sys
        import mox_tf
        assert mox_tf.ModeKeys.TRAIN == "TRAIN"
        print(sorted({"tensorflow", "numpy", "keras"} & set(sys.modules)))
    """
    assert python(code).stdout.strip() == "[]"


def test_all_names_are_there():
    for name in mox_tf.__all__:
        assert getattr(mox_tf, name) is not None
    assert set(mox_core.__all__) <= set(mox_tf.__all__)
    assert mox_tf.ModelSpec is mox_core.ModelSpec
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mox_tf.nonsense


def test_run_has_the_arguments_of_the_core_and_a_fixed_engine():
    assert inspect.signature(mox_tf.run) == inspect.signature(mox_core.run)
    with pytest.raises(EngineError, match="engine='toy' was given"):
        mox_tf.run(engine="toy")


def test_half_precision_over_full_precision_variables():
    """The example of mox.var_scope in the manual."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default():
        with mox_tf.var_scope(force_dtype=tf.float32):
            a = tf.get_variable("a", shape=[], dtype=tf.float16)
            b = tf.get_variable("b", initializer=tf.constant([1.0, 2.0], tf.float16))
            count = tf.get_variable("count", shape=[], dtype=tf.int32)
        outside = tf.get_variable("outside", shape=[], dtype=tf.float16)
        assert (a.dtype, b.dtype) == (tf.float16, tf.float16)
        assert str(a) == 'Tensor("Cast:0", shape=(), dtype=float16)'
        dtypes = {v.op.name: v.dtype.base_dtype for v in tf.global_variables()}
        assert dtypes == {
            "a": tf.float32,
            "b": tf.float32,
            "count": tf.int32,
            "outside": tf.float16,
        }
        assert (count.dtype.base_dtype, outside.dtype.base_dtype) == (tf.int32, tf.float16)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assert session.run(b).tolist() == [1.0, 2.0]
