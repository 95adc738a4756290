"""docs/engines.md says what the engines say of themselves."""

from __future__ import annotations

from pathlib import Path

from mox_core.plugins import get_manager

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


def table():
    """Row -> engine -> cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("| ")
    ]
    names = [name.strip("`") for name in rows[0][1:]]
    return {title: dict(zip(names, cells, strict=True)) for title, *cells in rows[1:]}


def test_the_table_is_that_of_the_capabilities(engines):
    rows = table()
    for name in engines:
        able = get_manager().select("engine", name).capabilities
        formats = ", ".join(f"`{one}`" for one in able.export_formats)
        assert rows["export formats"][name] == formats
        precision = set(rows["mixed precision"][name].split(", ")) - {"no"}
        assert precision == able.mixed_precision
        assert rows["the model's own summaries"][name] == ("yes" if able.summaries else "no")
        hooks = f"`{able.native_hooks}`" if able.native_hooks else "no"
        assert rows["hooks of the framework's own"][name] == hooks
        assert able.neutral and able.towers and able.inter_mode and able.multi_loss
