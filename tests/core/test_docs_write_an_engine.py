"""docs/write-an-engine.md quotes code that is tested, and names all of the contract."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from mox_core.engine import Capabilities, Engine, Program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/write-an-engine.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"<!-- quote: (\S+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)
PUBLIC = [name for owner in (Engine, Program) for name in vars(owner) if not name.startswith("_")]


def test_every_block_of_code_is_a_quote():
    assert len(QUOTES) == len(re.findall(r"^```\w+$", TEXT, re.MULTILINE)) >= 7


@pytest.mark.parametrize(("path", "quote"), QUOTES)
def test_a_quote_stands_in_its_file(path, quote):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert quote in source, f"{path} has changed; quote it again:\n{textwrap.dedent(quote)}"


@pytest.mark.parametrize("name", sorted({*PUBLIC, *inspect.get_annotations(Program)} - {"request"}))
def test_all_of_the_contract_is_named(name):
    assert re.search(rf"`(Program\.)?{name}(\(.*?\))?`", TEXT), f"{name} is not in the page"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Capabilities)])
def test_all_capabilities_are_named(field):
    assert re.search(rf"^\| .*`{field}`.* \| ", TEXT, re.MULTILINE), f"{field} is not in the table"
