"""`tf.contrib.training.HParams`: hyper-parameters with types, set from a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mox_core.errors import SpecError

__all__ = ["HParams"]

_ASSIGNMENT = re.compile(r"\s*(\w+)\s*=\s*(\[[^\]]*\]|[^,\[]*)\s*(?:,|$)")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


class HParams:
    """Named values that keep the type that they were first given.

        params = HParams(learning_rate=0.1, units=[64, 32])
        params.parse("learning_rate=0.2,units=[32,16]")

    Args:
        values: name -> number, text, bool, None or a list of one of these types.
    """

    def __init__(self, **values: Any) -> None:
        self._names: list[str] = []
        for name, value in values.items():
            self.add_hparam(name, value)

    def add_hparam(self, name: str, value: Any) -> None:
        """Adds a parameter.

        Raises:
            SpecError: the name is taken, or reserved by this class.
        """
        if hasattr(self, name):
            raise SpecError(f"hyper-parameter {name!r} is there already, or names a method.")
        self._names.append(name)
        setattr(self, name, list(value) if isinstance(value, (list, tuple)) else value)

    def set_hparam(self, name: str, value: Any) -> None:
        """Changes a parameter; a text becomes of its type.

        Raises:
            SpecError: there is none, or the value does not fit.
        """
        old = self._old(name)
        if isinstance(value, (list, tuple)):
            if not isinstance(old, list):
                raise SpecError(f"hyper-parameter {name!r} is not a list.")
            sample = old[0] if old else None
            setattr(self, name, [_converted(name, one, sample) for one in value])
        elif isinstance(old, list):
            raise SpecError(f"hyper-parameter {name!r} is a list.")
        else:
            setattr(self, name, _converted(name, value, old))

    def del_hparam(self, name: str) -> None:
        """Removes a parameter, if it is there."""
        if name in self._names:
            self._names.remove(name)
            delattr(self, name)

    def parse(self, values: str) -> HParams:
        """Sets parameters from a text such as `rate=0.1,units=[2,3]`.

        Raises:
            SpecError: the text cannot be read; the message shows the bad part.
        """
        position = 0
        while position < len(values):
            found = _ASSIGNMENT.match(values, position)
            if found is None:
                raise SpecError(f"cannot read hyper-parameters from {values[position:]!r}.")
            name, text = found.groups()
            if text.startswith("["):
                items = text[1:-1].split(",") if text[1:-1].strip() else []
                self.set_hparam(name, [item.strip() for item in items])
            else:
                self.set_hparam(name, text.strip())
            position = found.end()
        return self

    def override_from_dict(self, values: Mapping[str, Any]) -> HParams:
        """Sets parameters from a dictionary."""
        for name, value in values.items():
            self.set_hparam(name, value)
        return self

    def parse_json(self, text: str) -> HParams:
        """Sets parameters from the text of a JSON object."""
        return self.override_from_dict(json.loads(text))

    def values(self) -> dict[str, Any]:
        """All of them."""
        return {name: getattr(self, name) for name in self._names}

    def get(self, key: str, default: Any = None) -> Any:
        """One of them, or `default`."""
        return getattr(self, key) if key in self._names else default

    def to_json(self, indent: int | None = None, sort_keys: bool = False) -> str:
        """All of them, as a JSON object."""
        return json.dumps(self.values(), indent=indent, sort_keys=sort_keys)

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def __repr__(self) -> str:
        return f"HParams({', '.join(f'{k}={v!r}' for k, v in self.values().items())})"

    def _old(self, name: str) -> Any:
        if name not in self._names:
            raise SpecError(f"unknown hyper-parameter {name!r}; there are {self._names}.")
        return getattr(self, name)


def _converted(name: str, value: Any, old: Any) -> Any:
    kind = type(old)
    if old is None or value is None or type(value) is kind:
        return value
    if kind is bool:
        word = str(value).lower()
        if word in (*_TRUE, *_FALSE):
            return word in _TRUE
    elif kind in (int, float, str) and not isinstance(value, bool):
        try:
            if kind is int and float(value) != int(float(value)):
                raise ValueError
            return kind(value)
        except (TypeError, ValueError):
            pass
    raise SpecError(f"hyper-parameter {name!r}: {value!r} is no {kind.__name__}.")
