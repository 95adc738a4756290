"""docs/tensorflow.md: what it shows of data sets runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mox_core.data.example import format_example
from mox_core.data.tfrecord import TFRecordWriter

PAGE = (Path(__file__).parents[2] / "docs" / "tensorflow.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Data sets\n")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_data_sets_run(number, tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    for kind in ("daisy", "rose"):
        (tmp_path / "flower_photos" / kind).mkdir(parents=True)
        for name in range(3):
            picture = np.random.default_rng(name).integers(0, 256, (30, 40, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "flower_photos" / kind / f"{name}.jpg"), picture)
    with TFRecordWriter(tmp_path / "measurements" / "0.tfrecord") as writer:
        writer.write(format_example({"values": [1.0, 2.0, 6.0], "kind": 4}))
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default():
        exec(compile(EXAMPLES[number], f"docs/tensorflow.md, example {number}", "exec"), {})
