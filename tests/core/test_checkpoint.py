"""Checkpoints on disk: atomic, checked, described."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

import mox_core as mox
from mox_core.checkpoint import describe_checkpoint, latest_checkpoint, resolve_checkpoint
from mox_core.errors import CheckpointError
from mox_core.testing.toy_checkpoint import read_arrays

EVAL = mox.ModeKeys.EVAL


def script(body):
    """A training script on the toy engine, as text."""
    return textwrap.dedent(
        """
        import sys
        import numpy as np
        import mox_core as mox
        from mox_core.testing import ToyEngine, toy_nn as toy

        def input_fn(mode):
            rng = np.random.default_rng(0)
            while True:
                points = rng.normal(size=(10, 4))
                yield points, (points[:, 0] > 0).astype(int)

        def model_fn(inputs, mode):
            logits = inputs[0] @ toy.variable("weights", (4, 2))
            loss = toy.softmax_cross_entropy(logits, inputs[1])
            return mox.ModelSpec(loss=loss, log_info={"loss": loss})

        def run(**arguments):
            return mox.run(input_fn=input_fn, model_fn=model_fn, optimizer_fn=lambda: toy.Sgd(0.1),
                           run_mode=mox.ModeKeys.TRAIN, engine=ToyEngine(), **arguments)
        """
    ) + textwrap.dedent(body)


@pytest.fixture
def start(tmp_path, start_process):
    """Function: runs a script with this body in a process of its own."""

    def start(body, **options):
        path = tmp_path / "train.py"
        path.write_text(script(body))
        pipe = subprocess.PIPE
        return start_process([sys.executable, str(path)], stdout=pipe, stderr=pipe, **options)

    return start


# ---- The files -----------------------------------------------------------------------------------


def test_the_pointer_is_tensorflows_own_format(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4, save_model_steps=2)
    assert (tmp_path / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "model.ckpt-4"',
        'all_model_checkpoint_paths: "model.ckpt-0"',
        'all_model_checkpoint_paths: "model.ckpt-2"',
        'all_model_checkpoint_paths: "model.ckpt-4"',
    ]
    assert latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-4")


def test_describe_shows_what_was_saved(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    info = describe_checkpoint(str(tmp_path))
    assert (info.step, info.engine, info.mox_version) == (4, "toy", mox.__version__)
    shapes = {variable.name: variable.shape for variable in info.variables}
    assert shapes["weights"] == (2, 3) and shapes["weights/momentum"] == (2, 3)
    assert shapes["global_step"] == ()
    assert dict(info.files)["model.ckpt-4.npz"] == (tmp_path / "model.ckpt-4.npz").stat().st_size


def test_a_moved_folder_still_loads(problem, tmp_path):
    problem.run(log_dir=tmp_path / "old", max_number_of_steps=4)
    (tmp_path / "old").rename(tmp_path / "new")
    assert problem.run(EVAL, log_dir=tmp_path / "new").global_step == 4


def test_a_folder_without_checkpoint(tmp_path):
    assert latest_checkpoint(str(tmp_path)) is None
    assert resolve_checkpoint(str(tmp_path / "missing")) is None
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        describe_checkpoint(str(tmp_path))


# ---- Damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [mox.ModeKeys.TRAIN, EVAL])
def test_a_truncated_checkpoint_is_named_with_an_older_one(problem, tmp_path, mode):
    problem.run(log_dir=tmp_path, max_number_of_steps=4, save_model_steps=2)
    file = tmp_path / "model.ckpt-4.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError) as error:
        problem.run(mode, log_dir=tmp_path, max_number_of_steps=9)
    text = str(error.value)
    assert f"model.ckpt-4.npz has {len(content) // 2} bytes, {len(content)} were written" in text
    assert "model.ckpt-2" in text and len(text.splitlines()) == 2
    advised = re.search(r"checkpoint_path='(.*?)'", text).group(1)
    assert problem.run(EVAL, checkpoint_path=advised).global_step == 2


def test_a_damaged_checkpoint_of_a_store_is_named_with_an_older_one_there(problem):
    log_dir = "memory://checkpoints/damaged"
    problem.run(log_dir=log_dir, max_number_of_steps=4, save_model_steps=2)
    file = f"{log_dir}/model.ckpt-4.npz"
    size = len(mox.file.read(file, binary=True))
    for content in (b"\x07" * size, b"\x07"):
        mox.file.write(file, content, binary=True)
        with pytest.raises(CheckpointError) as error:
            problem.run(log_dir=log_dir, max_number_of_steps=9)
        first, second = str(error.value).splitlines()
        assert first.startswith(f"checkpoint {log_dir}/model.ckpt-4 is damaged: model.ckpt-4.npz")
        assert f"checkpoint_path='{log_dir}/model.ckpt-2'" in second


def test_a_flipped_byte_is_an_error_of_the_engine(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    file = tmp_path / "model.ckpt-4.npz"
    weights = read_arrays(str(tmp_path / "model.ckpt-4"))["weights"].tobytes()
    content = bytearray(file.read_bytes())
    content[content.index(weights)] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.ckpt-4"):
        problem.run(EVAL, log_dir=tmp_path)


def test_a_missing_file_and_a_broken_record(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    (tmp_path / "model.ckpt-4.npz").rename(tmp_path / "aside")
    with pytest.raises(CheckpointError, match=r"model\.ckpt-4\.npz is missing"):
        problem.run(EVAL, log_dir=tmp_path)
    (tmp_path / "aside").rename(tmp_path / "model.ckpt-4.npz")
    (tmp_path / "model.ckpt-4.mox.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.ckpt-4\.mox\.json cannot be read"):
        problem.run(EVAL, log_dir=tmp_path)


def test_a_pointer_to_nothing(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    for file in tmp_path.glob("model.ckpt-*"):
        file.unlink()
    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=tmp_path)
    assert "points to model.ckpt-4" in str(error.value) and "begin afresh" in str(error.value)


def test_a_pointer_that_is_lost_or_garbage_names_the_newest_checkpoint(problem, tmp_path, caplog):
    problem.run(log_dir=tmp_path, max_number_of_steps=4, save_model_steps=2)
    newest = str(tmp_path / "model.ckpt-4")
    pointer = tmp_path / "checkpoint"
    pointer.write_text("garbage")
    with pytest.raises(CheckpointError, match="Remove it") as error:
        problem.run(log_dir=tmp_path)
    assert newest in str(error.value)
    pointer.unlink()
    with pytest.raises(CheckpointError, match=newest):
        problem.run(EVAL, checkpoint_path=tmp_path)
    assert problem.run(log_dir=tmp_path, max_number_of_steps=1).steps == 1
    assert newest in caplog.text and "begins afresh" in caplog.text


def test_a_file_of_a_checkpoint_stands_for_it(problem, tmp_path):
    problem.run(log_dir=tmp_path, max_number_of_steps=4)
    for suffix in ("", ".npz", ".mox.json"):
        given = tmp_path / f"model.ckpt-4{suffix}"
        assert problem.run(EVAL, checkpoint_path=given).global_step == 4


def test_a_checkpoint_of_another_model_names_the_variables(problem, tmp_path):
    from mox_core.testing import toy_nn as toy

    problem.run(log_dir=tmp_path, max_number_of_steps=4)

    def wider(inputs, mode):
        toy.variable("extra", (2,))
        return problem.model_fn(inputs, mode)

    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=tmp_path, model_fn=wider)
    assert "lacks 1 variable of the model: extra" in str(error.value)

    def other_shape(inputs, mode):
        logits = inputs[0] @ toy.variable("weights", (2, 4)) + toy.variable("bias", (4,))
        return mox.ModelSpec(loss=toy.softmax_cross_entropy(logits, inputs[1]))

    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=tmp_path, model_fn=other_shape)
    assert "weights is (2, 3) there and (2, 4) in the model" in str(error.value)


# ---- Disks ---------------------------------------------------------------------------------------


def test_a_log_dir_that_cannot_be_written(problem, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError) as error:
        problem.run(log_dir=tmp_path / "file" / "logs")
    assert "cannot be written: Not a directory" in str(error.value)
    assert problem.calls == []  # found before anything was built


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, start):
    """A real full file system; a limit on file size where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    body = f"""
    log_dir = {str(disk / "logs")!r}
    run(log_dir=log_dir, max_number_of_steps=3)
    import os
    filler = os.open({str(disk / "filler")!r}, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError as error:
        print(error)
    try:
        run(log_dir=log_dir, max_number_of_steps=6, log_every_n_steps=0, save_summary_steps=0)
    except mox.MoxError as error:
        print(error)
        sys.exit(3)
    """
    try:
        process = start(body)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 3, errors
        assert "No space left on device" in output and "is intact" in output
        assert "Traceback" not in errors
        newest = latest_checkpoint(str(disk / "logs"))
        assert newest.endswith("model.ckpt-3")
        assert "weights" in read_arrays(newest)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---- Kills ---------------------------------------------------------------------------------------


def test_kill_at_any_moment_leaves_a_checkpoint_that_loads(tmp_path, start):
    """Kills a process that does nothing but save, at different points, and resumes every time."""
    log_dir = tmp_path / "logs"
    body = f"run(log_dir={str(log_dir)!r}, save_model_steps=1, log_every_n_steps=0)"
    reached = -1
    for round_number in range(6):
        process = start(body)
        for _ in range(3 + 7 * round_number):
            process.wait_for("Saving checkpoints", errors=True)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        info = describe_checkpoint(str(log_dir))
        assert info.step > reached
        assert int(read_arrays(info.path)["global_step"]) == info.step
        reached = info.step
    process = start(f"print(run(log_dir={str(log_dir)!r}, max_number_of_steps=1).steps)")
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert output == "0\n"
    assert not list(log_dir.glob(".mox-saving-*"))


# ---- Interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupts_save_and_exit(tmp_path, sent, code, start):
    log_dir = tmp_path / "logs"
    body = f"""
    class Ends(mox.RunHook):
        every_n_steps = 10**9
        def on_end(self, run):
            print("ended in order at", run.step)
    run(log_dir={str(log_dir)!r}, hooks=[Ends()])
    """
    process = start(body)
    process.wait_for(r"step: 50\(", errors=True)
    process.send_signal(sent)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "finishing this step, then saving" in errors
    step = int(output.split()[-1])
    assert describe_checkpoint(str(log_dir)).step == step > 50


def test_a_second_interrupt_stops_at_once(tmp_path, start):
    """Even while a step hangs and never comes back to the loop."""
    body = f"""
    import threading
    class Hangs(mox.RunHook):
        def on_step_end(self, run, results):
            print("hanging", flush=True)
            threading.Event().wait()
    run(log_dir={str(tmp_path / "logs")!r}, hooks=[Hangs()])
    """
    process = start(body)
    assert process.stdout.readline() == b"hanging\n"
    process.send_signal(signal.SIGINT)
    process.wait_for("Press Ctrl-C again", errors=True)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert describe_checkpoint(str(tmp_path / "logs")).step == 0


def test_one_ctrl_c_on_a_terminal_counts_once_with_forked_children(tmp_path, start):
    """Ctrl-C reaches the whole process group, children that load data included."""
    body = f"""
    import os, threading
    children = []
    class Forks(mox.RunHook):
        def on_step_end(self, run, results):
            if not children:
                reader, writer = os.pipe()
                children.append(os.fork())
                if children[0] == 0:
                    try:
                        os.write(writer, b"!")
                        threading.Event().wait()
                    except KeyboardInterrupt:
                        os._exit(7)
                os.read(reader, 1)
                print("forked", flush=True)
    class Ends(mox.RunHook):
        def on_end(self, run):
            print("child", os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
    run(log_dir={str(tmp_path / "logs")!r}, hooks=[Forks(), Ends()])
    """
    process = start(body, start_new_session=True)
    assert process.stdout.readline() == b"forked\n"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Stopped at once" not in errors
    assert output == "child 7\n"


def test_handlers_are_given_back(problem):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    problem.run(max_number_of_steps=2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
