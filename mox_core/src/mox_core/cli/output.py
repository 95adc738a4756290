"""What the commands print: errors, tables, sizes."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

__all__ = ["human_size", "print_error", "table"]


def print_error(text: str) -> None:
    """Prints an error as all commands of mox do."""
    sys.stdout.flush()
    print(f"mox: error: {text}", file=sys.stderr)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> list[str]:
    """Aligns columns.

    Args:
        header: The titles of the columns.
        rows: The cells, as many in each row as there are titles.
        right: Titles of the columns that are aligned to the right.

    Returns:
        The lines, the header first.
    """
    cells = [[title.upper() for title in header], *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, header, strict=True)
        ).rstrip()
        for row in cells
    ]


def human_size(size: int) -> str:
    """A number of bytes in the unit that suits it: "512 B", "1.5 KiB"."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
