"""Parameter servers and workers: real processes on this machine."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

sys.path.insert(0, str(Path(__file__).parent))
from cluster_job import ClusterJob, run_alone

from mox_tf.checkpoint_files import CheckpointFiles

ENDED = "max_number_of_steps=30 reached"

# Many processes that are killed and waited for: `nox -s tests_cluster`, not part of the default.
pytestmark = pytest.mark.cluster


def variables(folder):
    """Name -> array of the newest checkpoint."""
    newest = re.search(r'model_checkpoint_path: "(.*)"', (folder / "checkpoint").read_text())[1]
    files = CheckpointFiles.open(str(folder / newest))
    return {name: files.read(name) for name in files.shapes}


def test_workers_in_step_equal_one_process_with_the_whole_batch(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    with ClusterJob(
        tmp_path / "logs", f"--folder={together}", "--sync_replicas", "--num_gpus=2", ps=2
    ) as job:
        assert job.start().wait() == [0, 0, 0, 0]
        for worker in ("worker 0", "worker 1"):
            assert job.result(worker)["steps"] == 30
            assert job.result(worker)["global_step"] == 30
    # Two workers with two towers take four batches in a step.
    run_alone(tmp_path, f"--folder={alone}", "--rows=32", "--steps=30")
    one, four = variables(alone), variables(together)
    assert one.keys() == four.keys()
    for name in one:
        np.testing.assert_allclose(four[name], one[name], atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A model that four replicated towers have trained for 5 steps; and what 5 more make of it."""
    folder = tmp_path_factory.mktemp("begun")
    first, more = folder / "first", folder / "more"
    run_alone(
        folder,
        f"--folder={first}",
        "--rows=8",
        "--num_gpus=4",
        "--variable_update=replicated",
        "--steps=5",
    )
    shutil.copytree(first, more)
    run_alone(folder, f"--folder={more}", "--rows=32", "--steps=10")
    return first, variables(more)


@pytest.mark.slow
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("towers", [1, 2, 4])
@pytest.mark.parametrize("mode", ["parameter_server", "distributed_replicated"])
def test_a_cluster_goes_on_from_replicated_towers(tmp_path, begun, mode, towers, workers, sync):
    first, expected = begun
    folder = tmp_path / "model"
    shutil.copytree(first, folder)
    # Asynchronous workers count their own steps, the first 5 shared between them.
    steps = 10 if sync or workers == 1 else 5
    with ClusterJob(
        tmp_path / "logs",
        f"--folder={folder}",
        f"--variable_update={mode}",
        f"--num_gpus={towers}",
        f"--rows={32 // towers // workers}",
        f"--steps={steps}",
        *(["--sync_replicas"] if sync else []),
        workers=workers,
    ) as job:
        assert set(job.start().wait()) == {0}
    trained = variables(folder)
    assert trained.keys() == expected.keys()
    if sync or workers == 1:
        for name in trained:
            np.testing.assert_allclose(trained[name], expected[name], atol=1e-6, err_msg=name)
    else:
        assert trained["global_step"] == 5 + 2 * (5 - 5 // 2)


def test_a_neutral_script_does_the_same_on_a_cluster(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    with ClusterJob(
        tmp_path / "logs", f"--folder={together}", "--sync_replicas", "--neutral", "--steps=20"
    ) as job:
        assert job.start().wait() == [0, 0, 0]
        assert job.result("worker 1")["steps"] == 20
    run_alone(tmp_path, f"--folder={alone}", "--neutral", "--rows=16", "--steps=20")
    one, two = variables(alone), variables(together)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-6, err_msg=name)


def test_each_worker_does_its_own_steps_and_the_last_checkpoint_has_all(tmp_path):
    """The chief has less data, so it waits for the other one before it saves."""
    folder = tmp_path / "model"
    with ClusterJob(
        tmp_path / "logs", f"--folder={folder}", "--batches=12,25", "--pace=0.02"
    ) as job:
        assert job.start().wait() == [0, 0, 0]
        assert job.result("worker 0")["steps"] == 12
        assert job.result("worker 1")["steps"] == 25
    saved = variables(folder)
    assert saved["global_step"] == 37

    # The checkpoint fits one process, and what that saves fits a cluster.
    assert "Restoring parameters" in run_alone(
        tmp_path, f"--folder={folder}", "--mode=EVAL", "--batches=4"
    )
    run_alone(tmp_path, f"--folder={folder}", "--steps=40")
    with ClusterJob(tmp_path / "again", f"--folder={folder}", "--steps=25") as job:
        assert job.start().wait() == [0, 0, 0]
        assert "model.ckpt-40" in job.text("worker 0")
        # Each worker counts from half of the steps that were done.
        assert [job.result(f"worker {i}")["steps"] for i in (0, 1)] == [5, 5]
    assert variables(folder)["global_step"] == 50


@pytest.mark.slow
def test_the_cluster_of_the_manual_learns_what_one_process_does(tmp_path):
    """2 parameter servers, 2 workers, 2 towers each (manual 002, section 1.3.3), real digits."""
    examples = Path(__file__).parents[2] / "examples"

    def run(script, folder, *launcher):
        command = [sys.executable, *launcher, str(examples / script), "--train_url", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def accuracy(folder):
        text = run("eval_mnist_softmax.py", folder)
        return float(re.findall(r"accuracy: ([\d.]+)", text)[-1])

    cluster = ("-m", "mox_core.cli", "launch", "--ps=2", "--workers=2", "--gpus=2")
    run("train_mnist_softmax.py", tmp_path / "cluster", *cluster)
    run("train_mnist_softmax.py", tmp_path / "alone")
    assert accuracy(tmp_path / "cluster") >= accuracy(tmp_path / "alone") - 0.02


@pytest.mark.parametrize(
    "batches", [(8, 20), pytest.param((20, 8), marks=pytest.mark.slow)], ids=["chief", "other"]
)
def test_data_of_one_worker_end_in_step(tmp_path, batches):
    folder = tmp_path / "model"
    arguments = (f"--folder={folder}", "--sync_replicas", "--steps=1000")
    batches_of = "--batches={},{}".format(*batches)
    with ClusterJob(tmp_path / "logs", *arguments, batches_of) as job:
        assert job.start().wait() == [0, 0, 0]
        results = [job.result(f"worker {i}") for i in (0, 1)]
    assert [result["reason"] for result in results] == ["the data ended"] * 2
    assert tuple(result["steps"] for result in results) == batches
    assert variables(folder)["global_step"] == 20


@pytest.mark.parametrize(
    "sync", [pytest.param(True, id="sync"), pytest.param(False, id="async", marks=pytest.mark.slow)]
)
def test_killed_processes_come_back(tmp_path, sync):
    folder = tmp_path / "model"
    arguments = [f"--folder={folder}", "--pace=0.02", "--steps=1000000", f"--sync_replicas={sync}"]
    with ClusterJob(tmp_path / "logs", *arguments) as job:
        job.start()
        for worker in ("worker 0", "worker 1"):
            job.wait_for(worker, r"step: 20\(")

        def restart(name):
            marks = {one: len(job.text(one)) for one in job.names}
            job.kill(name)
            job.start(name)
            return marks

        marks = restart("worker 1")
        joined = job.wait_for("worker 1", r"Joining .* global step (\d+)", since=marks["worker 1"])
        assert int(joined[1]) >= 20
        job.wait_for("worker 1", r"\tloss", since=marks["worker 1"])

        saved = job.wait_for("worker 0", r"Saving checkpoints for (\d+)", count=2)
        marks = restart("worker 0")
        joined = job.wait_for("worker 0", r"Joining .* global step (\d+)", since=marks["worker 0"])
        assert int(joined[1]) >= int(saved[1]), "the chief took steps back"
        job.wait_for("worker 0", r"\tloss", since=marks["worker 0"])

        saved = job.wait_for("worker 0", r"Saving checkpoints for (\d+)", since=marks["worker 0"])
        marks = restart("ps 0")
        job.wait_for("worker 0", r"Lost ", since=marks["worker 0"])
        restored = job.wait_for(
            "worker 0", r"Restoring parameters from .*-(\d+)", since=marks["worker 0"]
        )
        assert int(restored[1]) >= int(saved[1])
        for worker in ("worker 0", "worker 1"):
            job.wait_for(worker, r"\tloss", count=3, since=marks[worker])

        for name in job.names:
            job.kill(name, signal.SIGTERM)
        assert job.wait(timeout=60) == [143, 143, 143]
    assert variables(folder)["global_step"] > int(restored[1])


@pytest.mark.slow
def test_a_parameter_server_is_lost_while_log_dir_is_in_a_bucket(tmp_path, monkeypatch):
    pytest.importorskip("boto3")
    sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
    from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore

    url = "s3://bucket/model"
    with ObjectStore() as store:
        monkeypatch.setenv("ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("SECRET_ACCESS_KEY", SECRET_KEY)
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{store.port}")
        arguments = [f"--folder={url}", "--pace=0.02", "--steps=1000000", "--sync_replicas"]
        with ClusterJob(tmp_path / "logs", *arguments) as job:
            job.start()
            job.wait_for("worker 0", f"Saving checkpoints for 20 into {url}/model.ckpt")
            mark = len(job.text("worker 0"))
            job.kill("ps 0")
            job.start("ps 0")
            job.wait_for("worker 0", f"Restoring parameters from {url}/model", since=mark)
            job.wait_for("worker 0", r"\tloss", count=3, since=mark)
            for name in job.names:
                job.kill(name, signal.SIGTERM)
            assert job.wait(timeout=60) == [143, 143, 143]
            saved = re.findall(r"Saving checkpoints for (\d+)", job.text("worker 0"))
        pointer = store.get("model/checkpoint").decode()
    assert f'model_checkpoint_path: "model.ckpt-{saved[-1]}"' in pointer


def test_a_parameter_server_that_stays_away_ends_the_job(tmp_path):
    arguments = [f"--folder={tmp_path / 'model'}", "--pace=0.02", "--session_timeout=4"]
    with ClusterJob(tmp_path / "logs", *arguments, "--steps=100000", ps=2) as job:
        job.start()
        job.wait_for("worker 1", r"step: 10\(")
        job.kill("ps 1")
        codes = job.wait("worker 0", "worker 1", "ps 0", timeout=60)
        assert all(code == 1 for code in codes)
        for worker in ("worker 0", "worker 1"):
            assert f"ps 1 ({job.addresses['ps 1']}) could not be reached for 4 seconds" in (
                job.text(worker)
            )


@pytest.mark.slow
def test_a_worker_that_stays_away_ends_synchronous_training(tmp_path):
    arguments = [f"--folder={tmp_path / 'model'}", "--sync_replicas", "--session_timeout=4"]
    with ClusterJob(tmp_path / "logs", *arguments, "--steps=100000") as job:
        job.start()
        job.wait_for("worker 1", r"step: 10\(")
        job.kill("worker 1")
        assert job.wait("worker 0", "ps 0", timeout=60) == [1, 1]
        assert "worker 1 could not be reached for 4 seconds" in job.text("worker 0")


def test_nobody_to_join(tmp_path):
    with ClusterJob(tmp_path / "logs", "--session_timeout=2") as job:
        begun = time.monotonic()
        job.start("worker 0")
        assert job.wait("worker 0") == [1]
        assert f"ps 0 ({job.addresses['ps 0']}) could not be reached for 2 seconds" in (
            job.text("worker 0")
        )
        assert time.monotonic() - begun < 60


@pytest.mark.parametrize("where", [pytest.param("model", marks=pytest.mark.slow), "step"])
def test_an_error_of_one_worker_ends_all(tmp_path, where):
    with ClusterJob(tmp_path / "logs", "--steps=100000", f"--fail={where}") as job:
        job.start()
        assert job.wait(timeout=60) == [1, 1, 1]
        assert f"this {'model' if where == 'model' else 'batch'} is bad" in job.text("worker 1")
        assert "worker 1 failed; its own output says why" in job.text("worker 0")


@pytest.mark.slow
def test_a_hook_of_the_chief_stops_all(tmp_path):
    arguments = [f"--folder={tmp_path / 'model'}", "--stop", "--steps=100000", "--sync_replicas"]
    with ClusterJob(tmp_path / "logs", *arguments) as job:
        assert job.start().wait(timeout=90) == [0, 0, 0]
        assert job.result("worker 1")["reason"] == "another process ended the run"
        assert job.result("worker 0")["reason"] == "enough"


def test_interrupts_save_and_end_all(tmp_path):
    folder = tmp_path / "model"
    arguments = [f"--folder={folder}", "--steps=100000", "--sync_replicas", "--pace=0.02"]
    with ClusterJob(tmp_path / "logs", *arguments) as job:
        job.start()
        job.wait_for("worker 1", r"step: 15\(")
        for name in job.names:
            job.kill(name, signal.SIGINT)
        assert job.wait("worker 0", "worker 1", timeout=60) == [130, 130]
        assert job.wait("ps 0", timeout=60) == [130]
    assert variables(folder)["global_step"] >= 15
