"""The table of flags in docs/run.md: `python tests/core/flags_table.py` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from mox_core.flags.definitions import DEFINITIONS

PAGE = Path(__file__).parents[2] / "docs" / "run.md"
MARKS = re.compile(r"(<!-- flags:.*?-->\n)(.*?)(<!-- end of flags -->)", re.S)


def table() -> str:
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for flag in sorted(DEFINITIONS, key=lambda flag: flag.name):
        default = "" if flag.default in (None, "") else f"`{flag.default}`"
        rows.append(f"| `--{flag.name}` | {default} | {flag.help} |")
    return "\n".join(rows) + "\n"


def written() -> str:
    found = MARKS.search(PAGE.read_text())
    assert found is not None
    return found.group(2)


if __name__ == "__main__":
    PAGE.write_text(MARKS.sub(lambda m: m.group(1) + table() + m.group(3), PAGE.read_text()))
