"""Makes mox's flags known to absl, and so to `tf.flags` and `tf.app.run`."""

from __future__ import annotations

import sys
from typing import Any

from mox_core.flags.flag import Flag
from mox_core.flags.flag_registry import registry

__all__ = ["adapt"]


def adapt(absl_flags: Any) -> None:
    """Define mox's flags in absl's `FLAGS`, except those that a script has defined already.

    Their values are mox's: what absl parses or a script assigns to `FLAGS` reaches `get_flag`,
    and the other way round. A script may define a flag of the same name; it replaces mox's one.

    Args:
        absl_flags: the module `absl.flags`.
    """
    flag_class = _flag_class(absl_flags)

    def define(flag: Flag) -> None:
        if flag.name not in absl_flags.FLAGS:
            absl_flags.DEFINE_flag(flag_class(flag), module_name="mox_core.flags")

    # absl knows all flags before it parses; the script's own come later, and replace mox's.
    registry().complete(sys.argv[1:])
    registry().watch(define)


def _flag_class(absl_flags: Any) -> Any:
    class Parser(absl_flags.ArgumentParser):  # type: ignore[misc]
        def __init__(self, flag: Flag) -> None:
            self._flag = flag

        def parse(self, argument: Any) -> Any:
            return self._flag.from_argument(argument)

        def flag_type(self) -> str:
            return self._flag.type.__name__

    class MoxFlag(absl_flags.Flag):  # type: ignore[misc]
        def __init__(self, flag: Flag) -> None:
            dashed = flag.name.replace("_", "-")
            super().__init__(
                Parser(flag),
                absl_flags.ArgumentSerializer(),
                flag.name,
                flag.default,
                flag.help,
                short_name=dashed if dashed != flag.name else None,
                boolean=flag.type is bool,
                allow_override=True,
            )

        @property
        def value(self) -> Any:
            return registry().get(self.name)

        @value.setter
        def value(self, value: Any) -> None:
            registry().set(self.name, value)

        def parse(self, argument: Any) -> None:
            registry().given(self.name, self._parse(argument))
            self.present += 1

        def unparse(self) -> None:
            registry().unset(self.name)
            self.using_default_value = True
            self.present = 0

        def _set_default(self, value: Any) -> None:
            self.default_unparsed = value
            self.default = None if value is None else self._parse(value)
            self.default_as_str = self._get_parsed_value_as_string(self.default)
            registry().set_default(self.name, self.default)

    return MoxFlag
