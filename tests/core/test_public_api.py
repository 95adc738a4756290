"""What mox_core exports, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import mox_core

PUBLIC = [
    "AsyncRawGenerator",
    "EarlyStoppingHook",
    "Engine",
    "ExportKeys",
    "ExportSpec",
    "ImageClassificationRawDataset",
    "ImageClassificationRawMetadata",
    "ImageClassificationTFRecordDataset",
    "ImageClassificationTFRecordMetadata",
    "LogEvaluationMetricHook",
    "ModeKeys",
    "ModelSpec",
    "MoxError",
    "MultilabelClassificationRawDataset",
    "MultilabelClassificationRawMetadata",
    "NetworkKeys",
    "PreprocessingKeys",
    "RunHook",
    "RunResult",
    "RunState",
    "__version__",
    "errors",
    "file",
    "get_collection",
    "get_data_augmentation_fn",
    "get_dataset",
    "get_dataset_meta",
    "get_flag",
    "get_model_fn",
    "get_model_meta",
    "get_optimizer_fn",
    "hookimpl",
    "nn",
    "run",
    "set_flag",
]

# What must not be loaded by code that trains nothing.
HEAVY = {"numpy", "tensorflow", "torch", "mxnet", "boto3", "obs", "tqdm", "pandas", "fsspec"}


def modules_after(code):
    script = f"{code}\nimport sys, json; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_public_names_are_these():
    assert sorted(mox_core.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(mox_core, name) is not None
    assert set(PUBLIC) <= set(dir(mox_core))


def test_importing_mox_core_loads_nothing_heavy():
    added = modules_after("import mox_core") - modules_after("pass")
    assert not {name.partition(".")[0] for name in added} & HEAVY
    # The names are lazy: flags see the command line early, everything else waits.
    assert not [name for name in added if name.startswith(("mox_core.running", "mox_core.plugins"))]
    assert not added & {"argparse", "pluggy", "importlib.metadata", "logging"}


def test_using_every_public_name_loads_no_framework():
    everything = "import mox_core\n" + "\n".join(f"mox_core.{name}" for name in PUBLIC)
    added = modules_after(everything)
    assert not {name.partition(".")[0] for name in added} & HEAVY


def test_names_mean_the_same_in_whatever_order_they_are_used():
    """A sub-package that is imported first must not hide a function of its name."""
    # One name of each module is enough: loading the module is what could hide something.
    one_each = sorted({getattr(getattr(mox_core, n), "__module__", n): n for n in PUBLIC}.values())
    script = f"""
import os, sys, traceback
for first in {one_each!r}:
    child = os.fork()
    if not child:
        try:
            import mox_core as mox
            getattr(mox, first)
            assert callable(mox.run), mox.run
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"failed after {{first}}")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=240)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(mox_core, "no_such_name")
