"""`mox migrate`, and the page that describes the migration."""

from __future__ import annotations

import os
import pty
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
    # encoding: utf-8
    import os, sys
    import tensorflow as tf
    from tensorflow.examples.tutorials.mnist import input_data
    import moxing
    import moxing.tensorflow as mox   # a comment
    from moxing.tensorflow.optimizer import learning_rate_scheduler
    from moxing.framework import file as CloudAPI
    from moxing.tensorflow.executor.hooks import FeedSessionRunHook, EarlyStoppingHook as Stop
    from moxing.pytorch.executor.enumerate import *
    slim = tf.contrib.slim


    def f():
      text = "数据"; return slim.conv2d(text, tf.contrib.slim.flatten(1))  # 注释


    moxing.file.exists('x')
    mox.run(max_number_of_steps=sys.maxint)
    """
MIGRATED = """
    # encoding: utf-8
    import os, sys
    import tensorflow.compat.v1 as tf
    import tf_slim
    from mox_tf import mnist as input_data
    import mox_core as moxing
    import mox_tf as mox   # a comment
    from mox_tf import learning_rate_scheduler
    from mox_core import file as CloudAPI
    from mox_tf import FeedSessionRunHook, EarlyStoppingHook as Stop
    from mox_torch import ModeKeys
    slim = tf_slim


    def f():
      text = "数据"; return slim.conv2d(text, tf_slim.flatten(1))  # 注释


    moxing.file.exists('x')
    mox.run(max_number_of_steps=sys.maxsize)
    """


def text_of(source, user):
    return user.write(source, "text").read_text()


def test_it_shows_a_diff_and_leaves_the_script_alone(user):
    script = user.write(SCRIPT)
    before = script.read_bytes()
    output = user.mox("migrate", "train.py")
    assert script.read_bytes() == before
    assert "\n-import moxing.tensorflow as mox   # a comment\n" in output
    assert "\n+import mox_tf as mox   # a comment\n" in output
    assert "\033" not in output


def test_it_writes_what_it_shows_and_keeps_everything_else(user):
    script = user.write(SCRIPT)
    script.chmod(0o755)
    assert user.mox("migrate", "train.py", "--write") == "train.py: 12 lines edited\n"
    assert script.read_text() == text_of(MIGRATED, user)
    assert script.stat().st_mode & 0o777 == 0o755
    assert user.mox("migrate", "train.py") == "train.py: nothing to edit\n"
    assert sorted(path.name for path in user.folder.iterdir()) == ["text", "train.py"]


def test_line_ends_and_encodings_stay(user):
    script = user.folder / "train.py"
    source = "# coding: gbk\r\nimport moxing as mox  # 数据\r\nmox.file.exists('x')\r\n"
    script.write_bytes(source.encode("gbk"))
    user.mox("migrate", "train.py", "--write")
    expected = source.replace("import moxing as mox", "import mox_core as mox")
    assert script.read_bytes() == expected.encode("gbk")


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (
            "import tensorflow as tf\ntf.contrib.crf.x",
            "2: tf.contrib.crf.x: There is no tf",
        ),
        ("import tensorflow as tf\ntf.layers.dense(1, 2)", "2: tf.layers.dense needs Keras 2"),
        ("from keras import backend as K", "1: keras.backend: Keras 2 is the package tf_keras"),
        ("from moxing.framework.util import compat", "1: moxing.framework.util.compat: Use"),
        ("import moxing.no.such.module", "1: moxing.no.such.module: docs/migrate.md lists"),
    ],
)
def test_what_is_left_to_do_by_hand_is_said_with_its_line(user, source, note):
    user.write(source)
    assert f"train.py:{note}" in user.mox("migrate", "train.py")


def test_it_is_in_colour_on_a_terminal(user):
    user.write(SCRIPT)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "mox_core.cli", "migrate", "train.py"]
    environment = {k: v for k, v in user.environment.items() if k != "NO_COLOR"}
    process = subprocess.Popen(command, cwd=user.folder, env=environment, stdout=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert process.wait() == 0
    assert b"\033[31m-import tensorflow as tf\033[0m" in seen
    assert b"\033[32m+import tensorflow.compat.v1 as tf\033[0m" in seen


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import moxing\nprint 'x'\n", "train.py, line 2 is Python 2: print was a statement."),
        ("x = (\n", "train.py, line 1 is not Python: '(' was never closed."),
        (None, "cannot read other.py: No such file or directory."),
    ],
)
def test_a_script_that_cannot_be_read_is_an_error_and_nothing_is_written(user, source, said):
    good = user.write("import moxing\n", "good.py")
    if source is not None:
        user.write(source)
    bad = "train.py" if source is not None else "other.py"
    output = user.mox("migrate", "good.py", bad, "--write", code=1)
    assert output.startswith(f"mox: error: {said}\n")
    assert good.read_text() == "import moxing\n"


def test_a_migrated_script_runs_without_the_launcher(user, manual, mnist_folder, log):
    pytest.importorskip("tensorflow")
    script = user.write((manual / "m002_train.py").read_text())
    user.mox("migrate", "train.py", "--write")
    assert "moxing" not in re.sub("#.*", "", script.read_text())
    flags = f"--data_url={mnist_folder}", "--train_url=out", "--num_gpus=2"
    steps, last = log(user.python(script, *flags))
    assert (steps[-1], last["loss"] < 0.8) == (70, True)


def test_the_table_of_names_is_that_of_what_is_installed():
    """`python tests/compat/symbols.py` writes it anew."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("torch")
    symbols = runpy.run_path(str(Path(__file__).with_name("symbols.py")))
    assert symbols["written"]() == symbols["table"]()
