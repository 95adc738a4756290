"""The many ways in which public scripts call MoXing."""

from __future__ import annotations

import re

import pytest

from .conftest import SCRIPTS

STYLES = re.findall(r"^@style\ndef (\w+)\(", (SCRIPTS / "styles.py").read_text(), re.M)


@pytest.fixture(scope="module")
def printed(same_user):
    """What the script with all styles prints, on two towers."""
    for package in ("tensorflow", "tf_keras", "tf_slim"):
        pytest.importorskip(package)
    return same_user.launch(SCRIPTS / "styles.py", "--num_gpus=2", "--data_url=x")


@pytest.mark.parametrize("style", STYLES)
def test_a_style_of_calling_moxing_with_tensorflow(printed, style):
    assert f"OK {style}\n" in printed, printed


def test_the_line_of_a_run_comes_once_without_handlers_of_the_root_logger(printed):
    lines = [line for line in printed.splitlines() if "bare_root" in line]
    assert len(lines) == 1
    assert re.fullmatch(
        r"INFO:tensorflow:step: 0\(global step: 0\)\tsample/sec: [\d.]+\tbare_root: \d\.\d{3}",
        lines[0],
    )
