"""The edits that turn a script written for MoXing into one written for mox."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from mox_compat.migrate.names import CONTRIB, LEGACY_KERAS, MODULES, UNKNOWN

__all__ = ["Migration", "migrate"]


@dataclass
class Migration:
    """What was done, and what is left to do by hand.

    Attributes:
        source: the script, edited.
        notes: line -> what to look at there.
    """

    source: str
    notes: list[tuple[int, str]] = field(default_factory=list)


def migrate(source: str) -> Migration:
    """Edits a script; everything that no edit concerns stays as it is, comments included.

    Args:
        source: the script, in Python 3.

    Raises:
        SyntaxError: it is not.
    """
    tree = ast.parse(source)
    editor = _Editor(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            editor.edit_import(node)
        elif isinstance(node, ast.ImportFrom):
            editor.edit_import_from(node)
    for node in _outermost_attributes(tree):
        editor.edit_attribute(node)
    editor.know_flags_early(tree)
    return Migration(editor.result(), sorted(set(editor.notes)))


class _Editor:
    def __init__(self, source: str) -> None:
        self.notes: list[tuple[int, str]] = []
        self._lines = source.encode().split(b"\n")
        self._edits: list[tuple[int, int, int, int, str]] = []
        self._slim_name: str | None = None
        self._tensorflow_names: set[str] = set()
        self._tensorflow_import: ast.stmt | None = None

    # ---- Imports ---------------------------------------------------------------------------------

    def edit_import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._note_module(alias.name, node.lineno)
            new = MODULES.get(alias.name)
            if new is None:
                continue
            if alias.name == "tensorflow":
                self._tensorflow_names.add(alias.asname or alias.name)
                self._tensorflow_import = self._tensorflow_import or node
            if alias.name.startswith("moxing.") and alias.asname is None:
                text = new  # `import moxing.tensorflow`: the attributes are edited, too
            else:
                text = f"{new} as {alias.asname or alias.name.rpartition('.')[2]}"
            self._replace(alias, text)

    def edit_import_from(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or module.partition(".")[0] not in ("moxing", "tensorflow", "keras"):
            return
        statements: list[str] = []
        grouped: dict[str, list[str]] = {}
        for alias in node.names:
            full = f"{module}.{alias.name}"
            as_name = f" as {alias.asname}" if alias.asname and alias.asname != alias.name else ""
            if full in MODULES:
                statements.append(_import_of(MODULES[full], alias.asname or alias.name))
            elif module in MODULES:
                grouped.setdefault(MODULES[module], []).append(_starless(full) + as_name)
            else:
                self._note_module(full, node.lineno)
                grouped.setdefault(module, []).append(alias.name + as_name)
        if set(grouped) == {module} and not statements:
            return
        statements += [f"from {one} import {', '.join(names)}" for one, names in grouped.items()]
        indent = " " * node.col_offset
        self._replace(node, f"\n{indent}".join(statements))

    def _note_module(self, name: str, line: int) -> None:
        if name in MODULES:
            return
        prefix = name
        while prefix:
            if prefix in UNKNOWN:
                self.notes.append((line, f"{name}: {UNKNOWN[prefix]}"))
                return
            if prefix in MODULES:
                return
            prefix = prefix.rpartition(".")[0]

    # ---- Attributes ------------------------------------------------------------------------------

    def edit_attribute(self, node: ast.Attribute) -> None:
        names = _dotted(node)
        if names is None:
            return
        if names[:2] == ["sys", "maxint"]:
            self._replace_first(node, 2, len(names), "sys.maxsize")
        elif names[0] == "moxing":
            for length in range(len(names), 1, -1):
                new = MODULES.get(".".join(names[:length]))
                if new is not None:
                    self._replace_first(node, length, len(names), new)
                    return
        elif names[0] in self._tensorflow_names:
            self._edit_tensorflow(node, names)

    def _edit_tensorflow(self, node: ast.Attribute, names: list[str]) -> None:
        shown = ".".join(["tf", *names[1:]])
        if names[1] == "contrib":
            new = CONTRIB.get(names[2]) if len(names) > 2 else None
            if new is None:
                self.notes.append((node.lineno, f"{shown}: {UNKNOWN['tensorflow.contrib']}"))
                return
            self._slim_name = self._slim_name or "tf_slim"
            self._replace_first(node, 3, len(names), new)
        elif any(shown == old or shown.startswith(f"{old}.") for old in LEGACY_KERAS):
            text = (
                "needs Keras 2: pip install tf_keras, and TF_USE_LEGACY_KERAS=1 in the environment"
            )
            self.notes.append((node.lineno, f"{shown} {text}."))

    # ---- Flags -----------------------------------------------------------------------------------

    def know_flags_early(self, tree: ast.Module) -> None:
        """Imports mox_core before a statement that may read flags, where mox comes later."""
        imports = [
            index
            for index, node in enumerate(tree.body)
            if isinstance(node, (ast.Import, ast.ImportFrom)) and "moxing" in ast.unparse(node)
        ]
        if not imports or self._tensorflow_import not in tree.body:
            return
        before = tree.body[: imports[0]]
        if any(isinstance(node, ast.Assign) and "FLAGS" in ast.unparse(node) for node in before):
            self._insert_after(self._tensorflow_import, "import mox_core  # defines mox's flags")

    # ---- Texts -----------------------------------------------------------------------------------

    def result(self) -> str:
        if self._slim_name and self._tensorflow_import is not None:
            self._insert_after(self._tensorflow_import, "import tf_slim")
        lines = list(self._lines)
        for line, start, end_line, end, text in sorted(self._edits, reverse=True):
            head, tail = lines[line][:start], lines[end_line][end:]
            lines[line : end_line + 1] = [head + text.encode() + tail]
        return b"\n".join(lines).decode()

    def _replace(self, node: ast.stmt | ast.expr | ast.alias, text: str) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        self._edits.append(
            (node.lineno - 1, node.col_offset, node.end_lineno - 1, node.end_col_offset, text)
        )

    def _replace_first(self, node: ast.Attribute, count: int, total: int, text: str) -> None:
        """Replaces the first names of a dotted one."""
        inner: ast.expr = node
        for _ in range(total - count):
            assert isinstance(inner, ast.Attribute)
            inner = inner.value
        self._replace(inner, text)

    def _insert_after(self, node: ast.stmt | None, text: str) -> None:
        assert node is not None and node.end_lineno is not None
        line = node.end_lineno - 1
        ending = "\r" if self._lines[line].endswith(b"\r") else ""
        end = len(self._lines[line]) - len(ending)
        self._edits.append((line, end, line, end, f"{ending}\n{' ' * node.col_offset}{text}"))


def _import_of(module: str, name: str) -> str:
    parent, _, last = module.rpartition(".")
    if parent:
        return f"from {parent} import {last}" + (f" as {name}" if name != last else "")
    return f"import {module}" + (f" as {name}" if name != module else "")


def _starless(full: str) -> str:
    """`*` of a module with one name is that name."""
    module, _, name = full.rpartition(".")
    single = {
        "moxing.pytorch.executor.enumerate": "ModeKeys",
        "moxing.pytorch.tools.AverageMeter": "AverageMeter",
    }
    return single.get(module, name) if name == "*" else name


def _outermost_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    inner = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            yield node


def _dotted(node: ast.Attribute) -> list[str] | None:
    names: list[str] = []
    one: ast.expr = node
    while isinstance(one, ast.Attribute):
        names.append(one.attr)
        one = one.value
    return [one.id, *reversed(names)] if isinstance(one, ast.Name) else None
