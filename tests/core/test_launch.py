"""mox launch: several processes of a script, on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

SHOW = """
    import json, os, sys
    names = ("JOB_NAME", "TASK_INDEX", "PS_HOSTS", "WORKER_HOSTS", "NUM_GPUS")
    flags = {name: os.environ.get("MOX_" + name) for name in names}
    print("GOT", json.dumps([sys.argv[1:], flags]))
"""
# Says that it is there, and waits for the signal that ends it.
STAY = """
    import os, sys, threading, time
    print("here", os.environ["MOX_JOB_NAME"], flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def launch(tmp_path):
    """Starts `mox launch` with a script."""
    processes = []

    def start(source, *options, arguments=()):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(source))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MOX_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "mox_core.cli", "launch", *options, str(script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def read_until(process, pattern, count):
    """Reads lines until so many match."""
    lines = []
    while count:
        line = process.stdout.readline()
        assert line, "".join(lines) + process.stderr.read()
        lines.append(line)
        count -= bool(re.search(pattern, line))
    return lines


def test_each_process_is_told_its_place(launch):
    out, err = launch(
        SHOW, "--ps", "1", "--workers", "2", "--gpus", "3", arguments=["--own", "1"]
    ).communicate(timeout=60)
    assert err == ""
    got = {
        name: json.loads(rest) for name, rest in re.findall(r"^\[(\w+ \d)\] GOT (.*)$", out, re.M)
    }
    assert set(got) == {"ps 0", "worker 0", "worker 1"}
    for name, (arguments, flags) in got.items():
        assert arguments == ["--own", "1"]
        assert f"{flags['JOB_NAME']} {flags['TASK_INDEX']}" == name
        assert flags["NUM_GPUS"] == "3"
        hosts = flags["PS_HOSTS"].split(",") + flags["WORKER_HOSTS"].split(",")
        assert len(set(hosts)) == 3
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+", host) for host in hosts)
    assert len({flags["WORKER_HOSTS"] for _, flags in got.values()}) == 1


def test_one_worker_alone_is_no_cluster(launch):
    out, _ = launch(SHOW).communicate(timeout=60)
    flags = json.loads(re.search(r"^\[worker 0\] GOT (.*)$", out, re.M)[1])[1]
    assert (flags["PS_HOSTS"], flags["WORKER_HOSTS"]) == (None, None)


def test_a_failed_process_ends_the_job(launch):
    process = launch(
        """
        import os, sys, threading
        if os.environ["MOX_TASK_INDEX"] == "1":
            print("I cannot go on")
            sys.exit(7)
        threading.Event().wait()
        """,
        "--ps=1",
        "--workers=2",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "mox: error: worker 1 failed with exit code 7" in err
    assert "  I cannot go on" in err


def test_a_killed_process_ends_the_job(launch):
    process = launch(
        """
        import os, signal, threading
        if os.environ["MOX_JOB_NAME"] == "ps":
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()
        """,
        "--ps=1",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert "ps 0 was killed by signal 9" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(launch, number):
    process = launch(STAY, "--ps=1", "--workers=2")
    read_until(process, "here", 3)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number


def test_a_second_ctrl_c_kills_those_that_do_not_end(launch):
    process = launch(
        """
        import os, signal, threading
        # Whole lines: print writes in pieces, and two processes share the pipe.
        signal.signal(signal.SIGINT, lambda *_: os.write(1, b"not yet\\n"))
        child = os.fork()
        os.write(1, b"here %d\\n" % os.getpid())
        while True:
            threading.Event().wait(1)
        """,
        "--workers=2",
    )
    pids = [int(line.split()[-1]) for line in read_until(process, "here", 4)]
    process.send_signal(signal.SIGINT)
    read_until(process, "not yet", 4)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    deadline = time.monotonic() + 30
    while any(is_alive(pid) for pid in pids):  # the children of the processes too
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers and --gpus are 1 or more"),
        (["--ps", "-1"], "--ps is 0 or more"),
        (["--ps", "two"], "argument --ps: invalid int value: 'two'"),
    ],
)
def test_wrong_numbers(launch, options, message):
    process = launch(SHOW, *options)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in err


def test_no_such_script(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mox_core.cli", "launch", str(tmp_path / "none.py")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "cannot find the script" in done.stderr


def test_flags_of_mox_before_the_script_are_handed_on(launch):
    source = """
        import mox_core as mox
        print("GOT", mox.get_flag("num_gpus"), mox.get_flag("use_fp16"), mox.get_flag("nan"))
        """
    out, err = launch(
        source, "--use_fp16", "--workers", "1", "--nan", "ignore", arguments=["--num_gpus=3"]
    ).communicate(timeout=60)
    assert (out, err) == ("[worker 0] GOT 3 True ignore\n", "")


def test_an_engine_says_which_processes_it_needs(tmp_path, capsys):
    from mox_core.cli.launch import main
    from mox_core.launching import LaunchProcess
    from mox_core.plugins import get_manager, hookimpl

    class Plugin:
        @hookimpl
        def mox_launch(self, request):
            helper = [sys.executable, "-c", "import os; print('HELPS', os.environ['ROLE'])"]
            workers = [
                LaunchProcess(f"trainer {rank}", {"ROLE": f"{rank} of {request.workers}"})
                for rank in range(request.workers)
            ]
            return [LaunchProcess("helper", {"ROLE": "all"}, helper, serves=True), *workers]

    script = tmp_path / "script.py"
    script.write_text("import os, sys; print('TRAINS', os.environ['ROLE'], sys.argv[1:])")
    get_manager().register(Plugin(), "helped", kind="engine")
    try:
        assert main(["--workers", "2", str(script), "--engine", "helped"]) == 0
        assert main(["--engine", "helped", str(script)]) == 0
    finally:
        get_manager().unregister("helped", kind="engine")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:3]) == [
        "[helper] HELPS all",
        "[trainer 0] TRAINS 0 of 2 ['--engine', 'helped']",
        "[trainer 1] TRAINS 1 of 2 ['--engine', 'helped']",
    ]
    assert sorted(lines[3:]) == ["[helper] HELPS all", "[trainer 0] TRAINS 0 of 1 []"]
