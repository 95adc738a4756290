"""MXNet beside a newer NumPy: what importing it does to NumPy, and what is said when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


def run(source, *options, **variables):
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(source)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_numpy_stays_as_it_is():
    done = run("""
        import numpy
        before = dict(vars(numpy))
        import mox_mxnet
        import mxnet
        import mxnet.contrib.amp, mxnet.gluon.data.vision
        import sys
        assert sys.modules["numpy"] is numpy
        added = {name for name in vars(numpy) if name not in before}
        assert not added & {"bool", "int", "float", "object", "str", "complex"}, added
        assert all(vars(numpy)[name] is value for name, value in before.items())
        assert type(mxnet.nd.ones(2).asnumpy()) is numpy.ndarray
        import collections, json
        assert json.__builtins__ is not mxnet.__builtins__, "others import as before"
    """)
    assert done.returncode == 0, done.stderr


def test_mox_and_its_help_do_not_import_mxnet():
    done = run("""
        import sys
        import mox_mxnet
        import mox_mxnet.plugin
        from mox_core.cli import main
        main(["plugins"])
        assert not {"mxnet", "numpy"} & set(sys.modules), "neither is needed for that"
    """)
    assert done.returncode == 0, done.stderr
    assert "mxnet" in done.stdout


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("mxnet", "pip install mxnet==1.9.1"),
        ("requests", "pip install requests"),
        ("distutils", "pip install setuptools"),
    ],
)
def test_what_is_missing_is_said_in_two_lines(missing, remedy):
    done = run(f"""
        import sys
        from mox_core.errors import MoxError
        from mox_core.plugins import get_manager
        sys.modules[{missing!r}] = None
        try:
            get_manager().select("engine", "mxnet")
        except MoxError as error:
            print(error)
    """)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("MXNet cannot be imported: ") and missing in first
    assert remedy in second


def test_a_numpy_that_is_too_new_is_named():
    done = run("""
        import numpy
        del numpy.float64  # NumPy 2 has lost names that MXNet needs
        from mox_mxnet.importing import load
        from mox_core.errors import EngineError
        try:
            load()
        except EngineError as error:
            print(error)
    """)
    assert "float64" in done.stdout, done.stderr
    assert "pip install 'numpy<2'" in done.stdout


def test_doctor_describes_mxnet():
    done = subprocess.run(
        [sys.executable, "-m", "mox_core.cli", "doctor", "mxnet"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "engine mxnet (mox-mxnet" in done.stdout
    assert "DIST_KVSTORE" in done.stdout
    assert "1.9.1" in done.stdout
