"""Modules that TensorFlow 1 had and today's TensorFlow lacks, found when they are imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mox_tf.tf1_view.contrib import ALIASES, PIECES, Piece, find
from mox_tf.tf1_view.errors import missing_module, missing_symbol

__all__ = ["install"]


def install() -> None:
    """Makes them importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(("tensorflow.contrib", "tensorflow.examples", "tf_keras.leg")):
            return None
        real = _real_name(fullname)
        if real is not None:
            package = real.partition(".")[0]
            if importlib.util.find_spec(package) is None:
                raise missing_module(_symbol(fullname), package=package)
            return ModuleSpec(fullname, _Alias(real), is_package=True)
        piece = PIECES.get(fullname)
        if piece is not None:
            return ModuleSpec(fullname, _PieceLoader(piece), is_package=True)
        if fullname.startswith("tensorflow."):
            raise missing_module(_symbol(fullname))
        return None


def _real_name(fullname: str) -> str | None:
    """The module that stands for another one, by the longest prefix."""
    prefix = fullname
    while prefix:
        if prefix in ALIASES:
            return ALIASES[prefix] + fullname[len(prefix) :]
        if prefix in PIECES:
            return None
        prefix = prefix.rpartition(".")[0]
    return None


def _symbol(fullname: str) -> str:
    return "tf." + fullname.partition(".")[2]


class _Alias(Loader):
    """Gives a module by another name; it stays one module."""

    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        try:
            module = importlib.import_module(self._real)
        except ModuleNotFoundError as error:
            if error.name is not None and self._real.startswith(error.name):
                raise missing_module(_symbol(spec.name)) from None
            raise
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importlib has put ours in its place


class _PieceLoader(Loader):
    def __init__(self, piece: Piece) -> None:
        self._piece = piece

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PieceModule(spec.name, self._piece)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "tensorflow.contrib":
            from mox_tf.tf1 import tf

            tf.contrib = module  # `tf.contrib.x` without an import of its own


class _PieceModule(ModuleType):
    """A namespace of tf.contrib; its names are looked up when they are first used."""

    def __init__(self, name: str, piece: Piece) -> None:
        super().__init__(name, piece.doc)
        self._piece = piece

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full_name = f"{self.__name__}.{name}"
        if full_name in PIECES or _real_name(full_name) is not None:
            return importlib.import_module(full_name)
        symbol = f"{_symbol(self.__name__)}.{name}"
        try:
            value = find(self._piece, name)
        except ModuleNotFoundError as error:
            if not error.name or "." in error.name:
                raise
            raise missing_symbol(symbol, package=error.name) from None
        if value is None:
            raise missing_symbol(symbol)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        prefix = f"{self.__name__}."
        parts = {one[len(prefix) :] for one in (*PIECES, *ALIASES) if one.startswith(prefix)}
        return sorted({*super().__dir__(), *self._piece.names, *(p for p in parts if "." not in p)})
