"""The package `moxing`: what it costs, what it is made of, and how it gives way to the real one."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import REPO

SOURCE = REPO / "mox_compat" / "src"
HEAVY = {"numpy", "tensorflow", "torch", "mxnet", "boto3", "obs", "pandas", "keras", "tf_keras"}

# Every import that public scripts make, as they write it.
IMPORTS = """
    import moxing
    import moxing as mox
    import moxing.framework.file as file
    from moxing.framework import file as CloudAPI
    from moxing.framework.file import file_io
    import moxing.framework.file.file_io
    from moxing.framework.file.file_io import copy_parallel
    from moxing.framework.util import compat, runtime
    from moxing.framework.util.compat import as_str
    import moxing.tensorflow as mox
    from moxing.tensorflow import file
    from moxing.tensorflow.executor import run, ModeKeys, get_flag, set_flag
    from moxing.tensorflow.utils.hyper_param_flags import mox_flags
    import moxing, moxing.pytorch as mox
    from moxing.pytorch.executor.enumerate import *
    from moxing.pytorch.executor.enumerate import ModeKeys
    from moxing.pytorch.tools.AverageMeter import *
    from moxing.pytorch.utils.hyper_param_flags import get_flag
    from moxing.pytorch import file
"""
WITH_A_FRAMEWORK = """
    from moxing.tensorflow.executor.hooks import FeedSessionRunHook
    from moxing.tensorflow.executor.hooks import AggregativeSessionRunHook, EarlyStoppingHook
    import moxing.tensorflow.executor.ops_adapter as ops_adapter
    from moxing.tensorflow.executor.ops_adapter import rank, size
    from moxing.tensorflow.optimizer import learning_rate_scheduler
    from moxing.tensorflow.optimizer.learning_rate_scheduler import piecewise_lr
    from moxing.tensorflow.optimizer import get_optimizer_fn
    from moxing.tensorflow.nets import get_model_fn, get_model_meta, NetworkKeys
    from moxing.tensorflow.preprocessing import get_data_augmentation_fn, PreprocessingKeys
    from moxing.tensorflow.datasets import ImageClassificationRawMetadata
    from moxing.tensorflow.datasets.raw.raw_dataset import ImageClassificationRawDataset
    from moxing.tensorflow.datasets.tfrecord_common import ImageClassificationTFRecordMetadata
    from moxing.tensorflow.datasets.tfrecord_common import BaseTFRecordDataset, get_tfrecord
    from moxing.tensorflow.datasets.raw.raw_dataset import split_image_classification_dataset
    from moxing.tensorflow.utils import tf_util
    import moxing.pytorch.dist
    from moxing.pytorch.dist import AutoDataLoader, AutoModule, init_process_group
"""


def lines_of(text):
    return [line.strip() for line in text.strip().splitlines()]


def modules_after(code, **environment):
    script = f"{code}\nimport sys, json; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_moxing_loads_next_to_nothing():
    """It takes some 15 ms; what it would take with any of these is more than the 50 allowed."""
    added = modules_after("import moxing") - modules_after("pass")
    assert not {name.partition(".")[0] for name in added} & HEAVY
    assert not added & {"argparse", "pluggy", "importlib.metadata", "logging", "mox_core.file"}
    assert len(added) < 25


def test_moxing_file_and_every_other_light_name_load_no_framework():
    code = "\n".join(lines_of(IMPORTS))
    added = modules_after(f"{code}\nmoxing.file.exists('x'); file.copy; mox_flags.num_gpus")
    assert not {name.partition(".")[0] for name in added - modules_after("pass")} & HEAVY


def test_every_import_of_public_scripts_works():
    pytest.importorskip("tensorflow")
    pytest.importorskip("torch")
    modules_after("\n".join(lines_of(WITH_A_FRAMEWORK)))


def test_there_is_one_module_for_files():
    modules_after(
        """
import moxing, moxing.tensorflow, moxing.pytorch, moxing.framework.file.file_io
from moxing.framework import file
import mox_core
assert file is moxing.file is moxing.tensorflow.file is moxing.pytorch.file is mox_core.file
assert moxing.framework.file.file_io is file.file_io
file.file_io._LARGE_FILE_METHOD = 1
file.file_io._NUMBER_OF_PROCESSES = 1
"""
    )


def test_the_package_holds_names_and_no_logic():
    """Loops and more than a few statements in a function would be logic: it belongs elsewhere."""
    for path in (SOURCE / "moxing").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            assert not isinstance(node, (ast.For, ast.While, ast.With)), path
            if isinstance(node, ast.FunctionDef):
                assert len(node.body) <= 3, (path, node.name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=SOURCE.parent,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("mox_compat-*.whl")
    return built


@pytest.fixture
def site_without_engines(tmp_path, wheel):
    """A folder with mox_core, pluggy, packaging and what pip makes of mox-compat's wheel."""
    site = tmp_path / "site-packages"
    site.mkdir()
    for name in ("mox_core", "pluggy", "packaging"):
        origin = Path(importlib.util.find_spec(name).submodule_search_locations[0])
        (site / name).symlink_to(origin)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_in(site, code, **environment):
    """Runs a program that finds only this folder, as Python finds site-packages."""
    program = f"import site; site.addsitedir({str(site)!r})\n{code}"
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("MOX_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**variables, **environment},
        cwd=site.parent,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_wheel_leaves_the_folder_moxing_to_the_real_one(site_without_engines):
    assert not (site_without_engines / "moxing").exists()
    code, out, err = run_in(site_without_engines, "import moxing; print(moxing.file.exists('no'))")
    assert (code, out, err) == (0, "False\n", "")


@pytest.mark.parametrize(
    ("part", "distribution"),
    [("tensorflow", "mox-tf"), ("pytorch", "mox-torch"), ("mxnet", "mox-mxnet")],
)
def test_a_part_whose_engine_is_missing_says_what_to_install(
    site_without_engines, part, distribution
):
    program = f"""
try:
    import moxing.{part} as mox
except ModuleNotFoundError as error:
    print(error)
"""
    code, out, _ = run_in(site_without_engines, program)
    assert (code, out) == (0, f"moxing.{part} needs {distribution}: pip install {distribution}\n")


@pytest.fixture
def real_moxing(site_without_engines):
    """A package `moxing` of somebody else's, installed beside."""
    folder = site_without_engines / "moxing"
    folder.mkdir()
    (folder / "__init__.py").write_text("print('the real one')\n")
    return site_without_engines


def test_the_real_moxing_wins_where_both_are_installed(real_moxing):
    assert run_in(real_moxing, "import moxing") == (0, "the real one\n", "")


def test_it_says_so_and_the_switch_decides_otherwise(real_moxing):
    run = "import sys; from mox_core.cli import main; sys.exit(main(['run', 'train.py']))"
    (real_moxing.parent / "train.py").write_text("import moxing; print(moxing.__name__)\n")
    metadata = real_moxing / "mox_core-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mox-core\nVersion: 0.1.0\n")
    place = f"MoXing is installed in {real_moxing}/moxing"
    code, out, err = run_in(real_moxing, run)
    assert (code, out) == (0, "the real one\nmoxing\n")
    assert err == (
        f"{place}: `import moxing` is that one, and mox-compat steps aside. "
        "MOX_COMPAT=first in the environment puts mox-compat before it.\n"
    )
    code, out, err = run_in(real_moxing, run, MOX_COMPAT="first")
    assert (code, out) == (0, "moxing\n")
    assert err == f"{place}; MOX_COMPAT=first puts mox-compat before it.\n"
    info = "from mox_core.cli import main; main(['info'])"
    assert place in run_in(real_moxing, info)[1]


def test_it_steps_aside_even_where_it_comes_first_on_the_path(real_moxing):
    first = f"import sys; sys.path.insert(0, {str(SOURCE)!r})"
    code, out, err = run_in(real_moxing, f"{first}\nimport moxing as mox; print(mox.__file__)")
    assert (code, out) == (0, f"the real one\n{real_moxing}/moxing/__init__.py\n")
    assert "mox-compat steps aside" in err
