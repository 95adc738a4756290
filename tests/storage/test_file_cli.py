"""`mox file`, as a user types it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest


def mox(
    *args: str, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "mox_core.cli", "file", *args],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=60,
    )
    return subprocess.CompletedProcess(
        args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/a.txt").write_text("hello")
    (tmp_path / "d/sub/b.txt").write_text("b" * 2000)
    return tmp_path


def test_ls(folder: Path) -> None:
    assert mox("ls", "d", cwd=folder).stdout == "a.txt\nsub/\n"
    assert sorted(mox("ls", "-r", "d", cwd=folder).stdout.split()) == [
        "a.txt",
        "sub/",
        "sub/b.txt",
    ]
    line = mox("ls", "-l", "d/a.txt", cwd=folder).stdout.split()
    assert line[:2] + line[-1:] == ["5", "B", "a.txt"]
    rows = json.loads(mox("ls", "--json", "d", cwd=folder).stdout)
    assert [(row["url"], row["type"], row["size"]) for row in rows] == [
        ("d/a.txt", "file", 5),
        ("d/sub/", "directory", 0),
    ]
    assert json.loads(mox("ls", "--json", "-r", "d/sub", cwd=folder).stdout)[0]["size"] == 2000


def test_cp_and_sync(folder: Path) -> None:
    done = mox("cp", "-r", "d", "copy", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("copied 2 files, 2.0 KiB (")
    assert (folder / "copy/sub/b.txt").exists()
    assert mox("cp", "d/a.txt", "copy/sub/", cwd=folder).stdout.startswith("copied 1 file, 5 B")
    (folder / "d/sub/b.txt").write_text("changed")
    (folder / "copy/extra").write_text("x")
    row = json.loads(mox("sync", "--delete", "--json", "d", "copy", cwd=folder).stdout)
    assert (row["files"], row["bytes"], row["removed"]) == (1, 7, 2)
    assert (folder / "copy/sub/b.txt").read_text() == "changed"
    assert not (folder / "copy/extra").exists()
    assert json.loads(mox("sync", "--json", "d", "copy", cwd=folder).stdout)["files"] == 0


def test_pipes(folder: Path) -> None:
    assert mox("cat", "d/a.txt", "d/a.txt", cwd=folder).stdout == "hellohello"
    assert mox("cp", "d/a.txt", "-", cwd=folder).stdout == "hello"
    assert mox("cp", "-", "d/new", stdin=b"from a pipe", cwd=folder).returncode == 0
    assert (folder / "d/new").read_text() == "from a pipe"


def test_stat_du_glob(folder: Path) -> None:
    row = json.loads(mox("stat", "--json", "d/a.txt", cwd=folder).stdout)
    assert (row["type"], row["size"]) == ("file", 5)
    assert "5 bytes" in mox("stat", "d/a.txt", cwd=folder).stdout
    assert mox("du", "d", cwd=folder).stdout == "2.0 KiB in 2 files  d\n"
    assert json.loads(mox("du", "--json", "d", cwd=folder).stdout) == {
        "url": "d",
        "files": 2,
        "size": 2005,
    }
    assert mox("glob", "d/*.txt", cwd=folder).stdout == "d/a.txt\n"
    assert json.loads(mox("glob", "--json", "d/**/b*", cwd=folder).stdout) == ["d/sub/b.txt"]


def test_mv_and_rm(folder: Path) -> None:
    assert mox("mv", "d/a.txt", "d/sub", cwd=folder).stdout == "moved d/a.txt to d/sub/a.txt\n"
    assert mox("rm", "d/sub/a.txt", cwd=folder).stdout == "removed 1 file\n"
    assert mox("rm", "-r", "d", cwd=folder).stdout == "removed 1 file\n"
    assert not (folder / "d").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("cp", "none", "x"), "there is no file none"),
        (("cp", "d", "x"), "-r"),
        (("ls", "none"), "there is no directory none"),
        (("rm", "none"), "there is no file none"),
        (("rm", "-r", "none"), "none"),
        (("rm", "d"), "-r"),
        (("cat", "d"), "directory"),
        (("stat", "none"), "none"),
        (("du", "none"), "none"),
        (("cp", "nothing://b/x", "x"), "no storage driver for 'nothing://'"),
        (("cp", "d/a.txt", "memory:///x"), "names no bucket"),
        (("sync", "none", "x"), "none"),
    ],
)
def test_errors_are_short_and_name_the_path(
    folder: Path, args: tuple[str, ...], words: str
) -> None:
    done = mox(*args, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("mox: error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""
    assert not (folder / "x").exists()


@pytest.mark.parametrize("args", [("ls",), ("nonsense",), (), ("cp", "--threads", "-3", "a", "b")])
def test_wrong_usage(args: tuple[str, ...]) -> None:
    done = mox(*args)
    assert done.returncode == 2
    assert "usage: mox file" in done.stderr


def test_a_terminal_gets_a_bar(folder: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(leader, False)
    done = subprocess.run(
        [sys.executable, "-m", "mox_core.cli", "file", "cp", "-r", "d", "copy"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=follower,
        timeout=60,
        check=True,
    )
    shown = os.read(leader, 100_000).decode()
    os.close(follower)
    os.close(leader)
    assert "/1.96k" in shown
    assert done.stdout.decode().startswith("copied 2 files")


def test_help_names_every_command() -> None:
    text = mox("--help").stdout
    for name in ("ls", "cp", "mv", "rm", "cat", "stat", "du", "sync", "glob"):
        assert f"    {name} " in text
