"""log_dir and checkpoint_path in a bucket, on real servers."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore

import mox_core as mox
from mox_core.checkpoint import describe_checkpoint, latest_checkpoint
from mox_core.cli import main
from mox_core.errors import CheckpointError, ExportExistsError, MoxError, PluginError
from mox_core.flags import registry, set_flag
from mox_core.hooks.events import read_events
from mox_core.storage import registry as drivers
from mox_core.storage.auth import Settings

pytest.importorskip("boto3")

SCRIPT = Path(__file__).with_name("remote_run.py")
spec = importlib.util.spec_from_file_location("remote_run", SCRIPT)
remote_run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(remote_run)
run = remote_run.run

TRAIN, EVAL, PREDICT = mox.ModeKeys.TRAIN, mox.ModeKeys.EVAL, mox.ModeKeys.PREDICT
S3 = "s3://bucket/logs"


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with a folder of its own for temporary files, and default flags."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setenv("DLS_LOCAL_CACHE_PATH", str(folder))
    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.setattr(drivers.DRIVERS, "_drivers", {})
    monkeypatch.setattr(drivers.DRIVERS, "_settings", Settings())
    registry().reset()
    yield folder
    registry().reset()


@pytest.fixture
def store(object_store):
    connect(object_store.port)
    yield object_store
    object_store.__dict__.pop("take_fault", None)


@pytest.fixture
def lines():
    """The lines of a run, with their levels."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record):
            said.append(f"{record.levelname}: {record.getMessage()}")

    logger, handler = logging.getLogger("mox"), Collect()
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


def connect(port):
    mox.file.set_auth(
        ak=ACCESS_KEY, sk=SECRET_KEY, server=f"http://127.0.0.1:{port}", retry=2, retry_wait=0.01
    )


def keys(store):
    return sorted(store.buckets["bucket"])


def hold(store, method, match):
    """Lets the requests that match wait; returns an event for the first, and one that frees all."""
    arrived, freed = threading.Event(), threading.Event()
    take_fault = store.take_fault

    def take_later(asked, target):
        if asked == method and re.search(match, target):
            arrived.set()
            freed.wait(60)
        return take_fault(asked, target)

    store.take_fault = take_later
    return arrived, freed


def start(store, url=S3):
    """Starts a training script that does not end by itself."""
    environment = {
        **os.environ,
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
        "S3_ENDPOINT": f"http://127.0.0.1:{store.port}",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), url], env=environment, stderr=subprocess.PIPE, text=True
    )


# ---- What is stored, and going on from it --------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "obs"])
def test_a_fresh_machine_goes_on(store, scheme, machine, lines):
    url = f"{scheme}://bucket/logs"
    first = run(f"{url}/")
    assert first.checkpoint == f"{url}/model.ckpt-4"
    assert f"INFO: Saving checkpoints for 4 into {url}/model.ckpt." in lines
    assert list(machine.iterdir()) == []

    again = run(url, max_number_of_steps=7)
    assert f"INFO: Restoring parameters from {url}/model.ckpt-4" in lines
    assert (again.steps, again.global_step) == (3, 7)
    assert list(machine.iterdir()) == []

    records = [json.loads(line) for line in store.get("logs/metrics.jsonl").splitlines()]
    assert [record["step"] for record in records] == list(range(7))
    events = [key for key in keys(store) if "events.out" in key]
    steps = []
    for number, key in enumerate(events):
        (machine / str(number)).write_bytes(store.get(key))
        steps += [step for step, _, _ in read_events(machine / str(number))]
    assert 0 in steps and 4 in steps

    evaluated = run(url, EVAL, max_number_of_steps=2)
    assert evaluated.global_step == 7
    assert json.loads(store.get("logs/metrics.jsonl").splitlines()[-1])["mode"] == "EVAL"
    outputs = []
    run(None, PREDICT, checkpoint_path=first.checkpoint, output_fn=outputs.extend)
    assert len(outputs) == 4
    other = run("obs://bucket/other", checkpoint_path=url, max_number_of_steps=8)
    assert (other.steps, other.checkpoint) == (1, "obs://bucket/other/model.ckpt-8")


def test_the_pointer_comes_last_and_older_checkpoints_go(store):
    set_flag("keep_checkpoint_max", 2)
    run(S3, max_number_of_steps=8, save_summary_steps=0)
    files = ["model.ckpt-6.mox.json", "model.ckpt-6.npz", "model.ckpt-8.mox.json"]
    expected = ["", "checkpoint", "metrics.jsonl", *files, "model.ckpt-8.npz"]
    assert keys(store) == [f"logs/{name}" for name in expected]
    assert latest_checkpoint(S3) == f"{S3}/model.ckpt-8"
    puts = [re.sub(r".*/|\?.*", "", path) for method, path in store.requests if method == "PUT"]
    last = ["model.ckpt-8.npz", "model.ckpt-8.mox.json", "checkpoint"]
    assert [put for put in puts if put in last][-3:] == last
    assert puts[puts.index(last[0]) - 1] == ".mox-unfinished"


def test_a_real_s3_server(moto_settings, machine):
    connect(moto_settings.port)
    run(S3)
    assert run(S3, max_number_of_steps=6, export_model=True).export_dir == f"{S3}/1"
    assert "model.ckpt-6.npz" in mox.file.list_directory(S3)
    assert list(machine.iterdir()) == []


def test_show_reads_the_record_only(store, capsys):
    run(S3)
    store.requests.clear()
    assert main(["checkpoint", "show", S3]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == f"{S3}/model.ckpt-4" and "step     4" in shown
    assert "weights" in shown and "model.ckpt-4.npz" in shown
    assert not [path for method, path in store.requests if method == "GET" and ".npz" in path]
    assert describe_checkpoint(f"{S3}/model.ckpt-2").step == 2


def test_an_exported_model_is_stored(store):
    result = run(S3, export_model=True)
    assert result.export_dir == f"{S3}/1"
    assert [key for key in keys(store) if key.startswith("logs/1/")]
    assert run(S3, EVAL, export_model=True).export_dir == f"{S3}/2"

    def model_fn(inputs, mode):
        made = remote_run.model_fn(inputs, mode)
        export = replace(made.export_spec, version=1)
        return mox.ModelSpec(loss=made.loss, log_info=made.log_info, export_spec=export)

    with pytest.raises(ExportExistsError, match=re.escape(f"{S3}/1")):
        run(S3, model_fn=model_fn, export_model=True, max_number_of_steps=8)
    assert describe_checkpoint(S3).step == 4, "it is found before the first step"


# ---- Damage and refusals -------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_named_by_its_url(store):
    run(S3)
    store.put("logs/model.ckpt-4.npz", b"short")
    with pytest.raises(CheckpointError) as error:
        run(S3, EVAL)
    assert "s3://bucket/logs/model.ckpt-4 is damaged: model.ckpt-4.npz has 5 bytes" in str(
        error.value
    )
    assert f"checkpoint_path='{S3}/model.ckpt-2'" in str(error.value)
    assert run(None, EVAL, checkpoint_path=f"{S3}/model.ckpt-2").global_step == 2


def test_a_checkpoint_that_does_not_fit_is_named_by_its_url(store):
    run(S3)

    def model_fn(inputs, mode):
        loss = remote_run.toy.mean(inputs[0] @ remote_run.toy.variable("weights", (4, 3)))
        return mox.ModelSpec(loss=loss)

    with pytest.raises(CheckpointError, match=f"checkpoint {S3}/model.ckpt-4 does not fit"):
        run(S3, model_fn=model_fn, max_number_of_steps=8)


def test_what_cannot_work_is_found_before_the_first_step(store, machine):
    steps = []

    class Watch(mox.RunHook):
        def on_step_end(self, run, results):
            steps.append(run.step)

    with pytest.raises(PluginError, match="no storage driver for 'nosuch://"):
        run("nosuch://bucket/logs", hooks=[Watch()])
    with pytest.raises(MoxError, match="missing"):
        run("s3://missing/logs", hooks=[Watch()])
    store.fail("status", method="PUT", status=403, code="AccessDenied", times=-1)
    with pytest.raises(MoxError, match="s3://bucket/logs"):
        run(S3, hooks=[Watch()])
    assert steps == [] and list(machine.iterdir()) == []


def test_evaluating_needs_no_right_to_write(store, lines):
    run(S3)
    store.fail("status", method="PUT", status=403, code="AccessDenied", times=-1)
    assert run(S3, EVAL, max_number_of_steps=2).global_step == 4
    assert sum(line.startswith("WARNING") for line in lines) == 1


# ---- Stores that fail in the middle --------------------------------------------------------------


def test_a_store_that_fails_for_a_while(store, lines):
    store.fail("status", method="PUT", match="model.ckpt-[24]", times=-1)

    class Mend(mox.RunHook):
        def on_step_end(self, run, results):
            if run.last_step == 5:
                store.faults.clear()

    run(S3, max_number_of_steps=8, hooks=[Mend()])
    failed = [line for line in lines if "could not be stored" in line]
    assert failed and failed[0].startswith(f"WARNING: model.ckpt-2 could not be stored in {S3}: ")
    assert len([line for line in failed if "\n" not in line]) == len(failed) <= 3
    assert any(line.startswith(f"INFO: {S3} answers again; model.ckpt-") for line in lines)
    assert describe_checkpoint(S3).step == 8
    assert not [key for key in keys(store) if re.search(r"model.ckpt-2|unfinished", key)]


def test_a_store_that_dies(machine, lines):
    with ObjectStore() as dying:
        connect(dying.port)

        class Die(mox.RunHook):
            def on_step_end(self, run, results):
                if run.last_step == 4:
                    dying.fail("reset", times=-1)

        with pytest.raises(CheckpointError) as error:
            run(S3, max_number_of_steps=8, hooks=[Die()])
        first, second = str(error.value).splitlines()
        assert first.startswith(f"model.ckpt-8 could not be stored in {S3}: ")
        assert sum("could not be stored" in line for line in lines) >= 1

        # The advice works once the store is back.
        dying.faults.clear()
        source, target = re.search(r"`mox file cp -r (\S+) (\S+)`", second).groups()
        assert main(["file", "cp", "-r", source, target]) == 0
        assert run(S3, EVAL, max_number_of_steps=1).global_step == 8


def test_an_error_of_the_script_is_not_hidden(store, machine, lines):
    class Fail(mox.RunHook):
        def on_step_end(self, run, results):
            if run.last_step == 2:
                store.fail("status", method="PUT", times=-1)
            if run.last_step == 5:
                raise ZeroDivisionError("of the script")

    with pytest.raises(ZeroDivisionError, match="of the script"):
        run(S3, max_number_of_steps=8, hooks=[Fail()])
    assert any("could not be stored" in line and "mox file cp -r" in line for line in lines)
    (kept,) = machine.iterdir()
    assert describe_checkpoint(str(kept)).step == 4


def test_the_store_is_at_most_one_save_behind(store):
    take_fault = store.take_fault

    def slowly(method, target):
        if method == "PUT":
            threading.Event().wait(0.02)
        return take_fault(method, target)

    store.take_fault = slowly
    behind = []

    class Watch(mox.RunHook):
        def on_step_end(self, run, results):
            saved = int(run.checkpoint.rpartition("-")[2])
            pointer = store.get("logs/checkpoint") or b'path: "model.ckpt-0"'
            behind.append(saved - int(re.search(rb'model.ckpt-(\d+)"', pointer)[1]))

    run(S3, max_number_of_steps=10, hooks=[Watch()])
    assert behind[-1] <= max(behind) == 2, "two steps lie between saves"


# ---- Kills ---------------------------------------------------------------------------------------


def test_a_kill_in_the_middle_of_an_upload(store, machine):
    arrived, freed = hold(store, "PUT", r"model.ckpt-4\.mox")
    with start(store) as process:
        assert arrived.wait(60), process.communicate()
        process.kill()
        process.communicate()
    freed.set()
    assert "logs/model.ckpt-4.npz" in keys(store), "half of it is there"
    assert describe_checkpoint(S3).step == 2
    assert len(list(machine.iterdir())) == 1

    store.put("logs/model.ckpt-400.npz", b"of somebody else")
    assert run(S3, max_number_of_steps=3).steps == 1
    left = {
        re.sub(r"\..*", "", key[len("logs/model.ckpt-") :]) for key in keys(store) if ".npz" in key
    }
    assert left == {"0", "2", "3", "400"}
    assert "logs/.mox-unfinished" not in keys(store)
    assert list(machine.iterdir()) == [], "what the killed process had staged is gone"


def test_sigterm_saves_and_uploads(store):
    with start(store) as process:
        output = ""
        while "Saving checkpoints for 20 " not in output:
            output += process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        output += process.stderr.read()
    assert process.returncode == 143, output
    saved = re.findall(r"Saving checkpoints for (\d+) into", output)
    assert describe_checkpoint(S3).step == int(saved[-1])
    assert "logs/.mox-unfinished" not in keys(store)
