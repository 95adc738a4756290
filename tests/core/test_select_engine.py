"""Which engine a run uses, with distributions as pip would install them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TRAIN = """
import numpy as np
import mox_core as mox
from mox_core.testing import toy_nn as toy

def input_fn(mode):
    return [(np.eye(2), np.array([0, 1]))] * 3

def model_fn(inputs, mode):
    loss = toy.softmax_cross_entropy(inputs[0] @ toy.variable("w", (2, 2)), inputs[1])
    return mox.ModelSpec(loss=loss)

try:
    native = dict.fromkeys(["one", "two"], model_fn)
    mox.run(input_fn, None, native, lambda: toy.Sgd(1.0), "TRAIN"{arguments})
except mox.MoxError as error:
    print(error)
"""

PLUGIN = """
from mox_core.plugins import hookimpl

@hookimpl
def mox_engine(name):
    from mox_core.testing import ToyEngine
    class Named(ToyEngine):
        pass
    Named.name = {name!r}
    print("engine", name)
    return Named()
"""


@pytest.fixture
def site(tmp_path):
    """A folder of installed distributions."""
    folder = tmp_path / "site"
    folder.mkdir()

    def install(name, module=None):
        code = PLUGIN.format(name=name) if module is None else module
        (folder / f"engine_{name}.py").write_text(code)
        info = folder / f"mox_{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mox-{name}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[mox.engines]\n{name} = engine_{name}\n")

    install.folder = folder
    install.workdir = tmp_path
    return install


def train(site, *flags, arguments="", **environment):
    script = site.workdir / "train.py"
    script.write_text(TRAIN.format(arguments=arguments))
    # Only what lies in `site` counts as installed; mox_core and NumPy come without metadata.
    packages = site.workdir / "packages"
    if not packages.exists():
        packages.mkdir()
        import numpy
        import packaging
        import pluggy

        import mox_core

        for module in (numpy, packaging, pluggy, mox_core):
            source = os.path.dirname(module.__file__)
            (packages / os.path.basename(source)).symlink_to(source)
        libs = os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), "numpy.libs")
        if os.path.isdir(libs):
            (packages / "numpy.libs").symlink_to(libs)
    done = subprocess.run(
        [sys.executable, "-S", str(script), *flags],
        cwd=site.workdir,
        env={"PYTHONPATH": f"{site.folder}:{packages}", "PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_engine(site):
    assert train(site) == (
        "no engine is installed.\n  Install one, for example with:  pip install mox-tf\n"
    )


def test_engines_that_mox_plugins_excludes(site):
    site("one")
    assert train(site, MOX_PLUGINS="other") == (
        "MOX_PLUGINS=other excludes every engine that is installed (one).\n"
        "  Add one of them to it, or unset it.\n"
    )


def test_the_only_one_is_chosen(site):
    site("one")
    assert train(site) == "engine one\n"


def test_several_and_no_choice(site):
    site("one")
    site("two")
    said = train(site)
    assert said.startswith("several engines are installed (one, two) and none is chosen.")
    assert "--engine one" in said and len(said.splitlines()) == 2


def test_every_way_to_choose(site):
    site("one")
    site("two")
    assert train(site, "--engine", "two") == "engine two\n"
    assert train(site, "--engine=one") == "engine one\n"
    assert train(site, MOX_ENGINE="two") == "engine two\n"
    assert train(site, arguments=", engine='two'") == "engine two\n"
    (site.workdir / "pyproject.toml").write_text('[tool.mox]\nengine = "two"\n')
    assert train(site) == "engine two\n"
    assert train(site, "--engine", "one", MOX_ENGINE="two") == "engine one\n"


def test_argument_and_flag_that_differ(site):
    site("one")
    site("two")
    said = train(site, "--engine", "two", arguments=", engine='one'")
    assert said.startswith(
        "the script fixes engine 'one', but --engine (or MOX_ENGINE) says 'two'."
    )


def test_an_engine_that_is_not_installed(site):
    site("one")
    assert train(site, "--engine", "torch") == (
        "engine 'torch' is not installed (installed: one).\n"
        "  Install it with:  pip install mox-torch\n"
    )


def test_an_engine_that_fails_to_load(site):
    site("broken", "import no_such_framework")
    assert train(site) == (
        "engine 'broken' is installed (mox-broken 0.1.0) but failed to load: "
        "ModuleNotFoundError: No module named 'no_such_framework'\n"
        "  Run `mox doctor broken` for the full traceback.\n"
    )


def test_a_broken_engine_does_not_disturb_another(site):
    site("broken", "import no_such_framework")
    site("one")
    assert train(site, "--engine", "one") == "engine one\n"


def test_a_broken_pyproject(site):
    site("one")
    site("two")
    (site.workdir / "pyproject.toml").write_text("[tool.mox\n")
    said = train(site)
    assert "pyproject.toml cannot be read" in said and len(said.splitlines()) == 1
