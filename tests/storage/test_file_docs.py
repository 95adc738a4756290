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
    script = tmp_path / "test_example.py"
    script.write_text(code)
    suite = "StorageSuite" in code
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not many"] if suite else []
    done = subprocess.run(
        [sys.executable, *command, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in re.findall(r"^# (\[.*\])$", code, re.MULTILINE):
        assert line in done.stdout


def test_the_page_names_everything_public() -> None:
    for name in file.__all__:
        if name not in ("DirEntry", "FileStat"):
            assert name in PAGE, f"docs/files.md does not mention {name}"
    for name in Settings.__dataclass_fields__:
        assert f"`{name}`" in PAGE, f"docs/files.md does not mention set_auth({name}=)"
