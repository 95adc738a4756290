"""TensorFlow's checkpoints without TensorFlow; tests/tf compares with what that reads."""

from __future__ import annotations

import importlib.util
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import mox_core as mox
from mox_core import crc32c
from mox_core.checkpoint import latest_checkpoint
from mox_core.cli import main
from mox_core.errors import CheckpointError
from mox_core.flags import set_flag
from mox_core.plugins import get_manager, hookimpl
from mox_core.testing import ToyEngine
from mox_core.tf_checkpoint import TensorFlowCheckpoint

FILES = Path(__file__).parent / "tf_checkpoints"
FORMATS = ("bundle.ckpt", "old.ckpt")


@pytest.fixture(scope="module")
def written():
    """Name -> array of what the files hold."""
    spec = importlib.util.spec_from_file_location("write_tf_checkpoints", FILES / "write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.values()


@pytest.fixture
def files(tmp_path):
    """A copy of them."""
    return Path(shutil.copytree(FILES, tmp_path / "files"))


@pytest.mark.parametrize("name", FORMATS)
def test_all_that_tensorflow_wrote_is_read(name, written):
    found = TensorFlowCheckpoint.find(str(FILES / name))
    arrays = found.arrays()
    if name == "bundle.ckpt":
        np.testing.assert_array_equal(arrays.pop("dtypes/bfloat16"), np.float32([1.5, -2.0]))
        assert found.without_numbers() == ["text"]
    assert arrays.keys() == written.keys()
    infos = {info.name: info for info in found.infos()}
    for key, array in written.items():
        np.testing.assert_array_equal(arrays[key], array, err_msg=key)
        assert (arrays[key].dtype, arrays[key].shape) == (array.dtype, array.shape), key
        assert (infos[key].dtype, infos[key].shape) == (array.dtype.name, array.shape)


@pytest.mark.parametrize("name", [*FORMATS, "none.ckpt", "write.py"])
def test_only_checkpoints_are_found(name):
    assert (TensorFlowCheckpoint.find(str(FILES / name)) is not None) == (name in FORMATS)


@pytest.mark.parametrize("part", ["bundle.ckpt.index", "bundle.ckpt.data-00001-of-00002"])
@pytest.mark.parametrize("damage", ["cut off", "a byte", "gone"])
def test_damage_is_told(part, damage, files):
    path = files / part
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "a byte":
        content[40] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])
    prefix = str(files / "bundle.ckpt")
    if part.endswith("index") and damage == "gone":
        assert TensorFlowCheckpoint.find(prefix) is None
        return
    with pytest.raises(CheckpointError, match="cannot be read: .*bundle.ckpt") as error:
        TensorFlowCheckpoint.find(prefix).arrays()
    assert str(error.value).startswith(f"checkpoint {prefix} ")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["old.ckpt", "bundle.ckpt.index"])
def test_any_damage_is_told(name, files, monkeypatch):
    """Also where the checksums fit by chance: what is read is right, or it is an error."""
    monkeypatch.setattr("mox_core.tf_checkpoint.masked_crc32c", _Fits())
    whole = (files / name).read_bytes()
    picked = random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        content[picked.randrange(len(content))] = picked.randrange(256)
        (files / name).write_bytes(content)
        try:
            found = TensorFlowCheckpoint.find(str(files / name.removesuffix(".index")))
            if found is not None:
                found.arrays()
        except CheckpointError:
            pass


class _Fits:
    """A checksum that equals every other."""

    def __call__(self, data):
        return self

    def to_bytes(self, *args):
        return self

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = None


def test_checksums_of_large_data_equal_those_of_small_pieces():
    data = np.random.default_rng(0).bytes(200_001)
    assert crc32c._numpy_crc32c(data) == crc32c._python_crc32c(data)


# ---- Runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_an_engine_loads_a_checkpoint_of_tensorflow(problem, name, written, log_lines):
    arguments = {"checkpoint_path": FILES / name, "engine": ToyEngine()}
    result = problem.run(mox.ModeKeys.EVAL, **arguments)
    assert result.global_step == written["global_step"]
    (line,) = [line for line in log_lines if " holds " in line]
    others = sum(key not in ("weights", "bias", "global_step") for key in written) - 2
    others += name == "bundle.ckpt"  # bfloat16; texts are left out
    assert f"{name} holds {others} variables that the model has not: dtypes/" in line
    set_flag("checkpoint_exclude_patterns", "global_step")
    assert problem.run(**arguments, max_number_of_steps=2).global_step == 2
    assert any("Restored 4 variables by the patterns" in line for line in log_lines)
    assert not any("start afresh" in line for line in log_lines)


def test_it_is_shown_and_converted_without_tensorflow(tmp_path, monkeypatch, capsys, written):
    monkeypatch.setattr(get_manager(), "only", frozenset({"file", "memory"}))
    get_manager().register(_Plugin(), "toy", kind="engine")
    try:
        assert main(["checkpoint", "show", str(FILES / "old.ckpt")]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["parts/rows", "10", "x", "2", "float32", "20"] in rows
        bundle, out = str(FILES / "bundle.ckpt"), str(tmp_path / "out")
        assert main(["checkpoint", "convert", bundle, out, "--to", "toy"]) == 0
    finally:
        get_manager().unregister("toy", kind="engine")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [f"  from     {bundle} (TensorFlow's format)", "  step     1234567890123"]
    assert lines[-1] == "  without  1 that hold no numbers: text"
    arrays = ToyEngine().read_variables(latest_checkpoint(out))
    np.testing.assert_array_equal(arrays["parts/columns"], written["parts/columns"])


class _Plugin:
    @hookimpl
    def mox_engine(self, name):
        return ToyEngine()


def test_a_log_dir_in_tensorflows_format_is_to_be_converted(problem, files):
    (files / "checkpoint").write_text('model_checkpoint_path: "bundle.ckpt"\n')
    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=files, engine=ToyEngine())
    first, second = str(error.value).splitlines()
    assert first.endswith("bundle.ckpt is in TensorFlow's format, and this run uses 'toy'.")
    assert "mox checkpoint convert" in second and "--to toy" in second
