"""One flag: its name, its type, and how a value becomes one of that type."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mox_core.errors import FlagError

__all__ = ["Flag"]

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})

# Names that scripts define for themselves beside mox's flags.
_NAMES_OF_SCRIPTS = frozenset(
    {"batch_size", "log_dir", "run_mode", "data_format", "split_to_device", "save_model_secs"}
)


def _to_bool(value: Any) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    elif value in (0, 1):
        return bool(value)
    raise ValueError


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return operator.index(value)


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_CONVERTERS: dict[type[Any], tuple[Callable[[Any], Any], str]] = {
    bool: (_to_bool, "a boolean (true or false)"),
    int: (_to_int, "an integer"),
    float: (float, "a number"),
    str: (_to_str, "a string"),
}


@dataclass(frozen=True)
class Flag:
    """A flag of mox.

    Attributes:
        name: lower case, words joined by underscores. On the command line dashes do as well.
        type: `bool`, `int`, `float` or `str`.
        default: the value when nobody sets one; of the type, or None.
        help: one sentence for `--mox-help`.
        group: the heading in `--mox-help`.
        choices: the only admissible values; empty: any.
        words: words admissible besides values of the type.
        env_aliases: further environment variables, read after `env`.
        of_run: whether `mox.run` or its engine reads it. A run warns of those that its engine
            does not know.

    Raises:
        FlagError: the name, the type or the default does not fit.
    """

    name: str
    type: type[bool | int | float | str]
    default: Any = None
    help: str = ""
    group: str = "Plugins"
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()
    env_aliases: tuple[str, ...] = ()
    of_run: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", self.name):
            raise FlagError(f"flag name {self.name!r}: use lower-case words joined by underscores")
        if self.name in _NAMES_OF_SCRIPTS:
            raise FlagError(
                f"flag name {self.name!r} belongs to the scripts, which define it themselves: "
                "use another name"
            )
        if self.type not in _CONVERTERS:
            raise FlagError(f"flag --{self.name}: the type must be bool, int, float or str")
        if self.default is not None:
            self.convert(self.default, source="its default")

    @property
    def env(self) -> str:
        """The environment variable that sets this flag."""
        return f"MOX_{self.name.upper()}"

    def convert(self, value: Any, *, source: str) -> Any:
        """Return the value of this flag that a text or an object stands for.

        Args:
            value: text, or an object of the type. None stands for the default.
            source: where the value comes from, for the message.

        Raises:
            FlagError: the value does not fit; the message names the flag, the value, what
                would fit, and the source.
        """
        if value is None:
            return self.default
        if isinstance(value, str) and value in self.words:
            return value
        converter, expected = _CONVERTERS[self.type]
        try:
            converted = converter(value)
        except (TypeError, ValueError, OverflowError):
            expected = " or ".join([expected, *map(repr, self.words)])
            raise FlagError(f"flag --{self.name}: {value!r} is not {expected} ({source})") from None
        if self.choices and converted not in self.choices:
            known = ", ".join(map(str, self.choices))
            raise FlagError(f"flag --{self.name}: {value!r} is not one of {known} ({source})")
        return converted

    def from_argument(self, text: Any) -> Any:
        """Return the value that stands on the command line; None there: it is missing.

        Raises:
            FlagError: the value is missing or does not fit.
        """
        if text is None:
            raise FlagError(f"flag --{self.name}: a value is missing (from the command line)")
        return self.convert(text, source="from the command line")
