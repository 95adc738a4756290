"""docs/files.md: its examples run, and it names every function."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mox_core import file
from mox_core.storage.auth import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number: int, tmp_path: Path) -> None:
    code = EXAMPLES[number]
    for library in ("pandas",):
        if f"import {library}" in code:
            pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in re.findall(r"^# (\[.*\])$", code, re.MULTILINE):
        assert line in done.stdout


def test_the_driver_of_the_docs_is_found_and_passes_the_suite(tmp_path, documented_plugin) -> None:
    python = documented_plugin("write-a-driver.md")
    (tmp_path / "a.txt").write_text("hello")
    mox = ("-m", "mox_core.cli")
    python(*mox, "file", "cp", "a.txt", "sqlite://bucket/b.txt")
    assert python(*mox, "file", "cat", "sqlite://bucket/b.txt") == "hello"
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not many", "test_sqlite.py")


def test_the_page_names_everything_public() -> None:
    for name in file.__all__:
        if name not in ("DirEntry", "FileStat"):
            assert name in PAGE, f"docs/files.md does not mention {name}"
    for name in Settings._fields:
        assert f"`{name}`" in PAGE, f"docs/files.md does not mention set_auth({name}=)"
