"""The flags of the process and where their values come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from mox_core.errors import FlagError
from mox_core.flags.arguments import has_unknown, scan
from mox_core.flags.definitions import DEFINITIONS
from mox_core.flags.flag import Flag

__all__ = ["Flag", "FlagRegistry", "get_flag", "registry", "set_flag"]


class FlagRegistry:
    """Flags by name, with the values that were set for them.

    `sys.argv` is read at the first use of a value, and never changed; `parse` reads another
    command line in its place. A value is checked when its flag is read.

    Args:
        flags: the flags to begin with.
        define_more: defines others; called once, when a flag is asked for that is not known.
    """

    def __init__(
        self, flags: Sequence[Flag] = (), *, define_more: Callable[[], object] | None = None
    ) -> None:
        self._flags: dict[str, Flag] = {}
        self._set: dict[str, Any] = {}
        self._argv: tuple[str, ...] | None = None
        self._given: dict[str, Any] = {}
        self._watchers: list[Callable[[Flag], object]] = []
        self._define_more = define_more
        for flag in flags:
            self.define(flag)

    @property
    def flags(self) -> Mapping[str, Flag]:
        """All flags by name, in the order of their definition; read-only."""
        return MappingProxyType(self._flags)

    def names(self) -> tuple[str, ...]:
        """Return the names of all flags, in the order of their definition."""
        return tuple(self._flags)

    def define(self, flag: Flag) -> None:
        """Add a flag. Defining an equal flag again does nothing.

        Raises:
            FlagError: another flag has this name.
        """
        known = self._flags.get(flag.name)
        if known == flag:
            return
        if known is not None:
            raise FlagError(f"flag --{flag.name} is defined already: {known.help or known}")
        self._flags[flag.name] = flag
        if self._argv is not None:
            self.parse(self._argv)
        for watcher in self._watchers:
            watcher(flag)

    def complete(self, args: Sequence[str] | None = None, known: Collection[str] = ()) -> None:
        """Let plugins define their flags, unless they have done so.

        Args:
            args: a command line without the program; only when it has an option that is no flag
                yet. None: in any case.
            known: normalized names of options that somebody else defines.
        """
        if self._define_more is None:
            return
        if args is None or has_unknown(args, self._flags, known):
            define_more, self._define_more = self._define_more, None
            define_more()

    def watch(self, callback: Callable[[Flag], object]) -> None:
        """Call `callback` with every flag defined so far and from now on."""
        self._watchers.append(callback)
        for flag in tuple(self._flags.values()):
            callback(flag)

    def parse(self, argv: Sequence[str]) -> None:
        """Take values from a command line instead of the one read before.

        Args:
            argv: as `sys.argv`: the first element is the program. Not changed.
        """
        self._argv = tuple(argv)
        self._given = {found.flag.name: found.text for found in scan(argv[1:], self._flags)}

    def given(self, name: str, value: Any) -> None:
        """Record a value that another parser found on the command line.

        Raises:
            FlagError: unknown name, or the value does not fit.
        """
        converted = self._flag(name).from_argument(value)
        self._command_line()[name] = converted

    def get(self, name: str) -> Any:
        """Return the value of a flag.

        Raises:
            FlagError: unknown name, or a value from the command line or the environment that
                does not fit.
        """
        flag = self._flag(name)
        if name in self._set:
            return self._set[name]
        given = self._command_line()
        if name in given:
            return flag.from_argument(given[name])
        for variable in (flag.env, *flag.env_aliases):
            if text := os.environ.get(variable):
                return flag.convert(text, source=f"from the environment variable {variable}")
        return flag.default

    def set(self, name: str, value: Any) -> None:
        """Set a value that wins over all others; None sets the default.

        Raises:
            FlagError: unknown name, or the value does not fit.
        """
        self._set[name] = self._flag(name).convert(value, source="from set_flag")

    def set_default(self, name: str, value: Any) -> None:
        """Change the value that holds when nobody sets one.

        Raises:
            FlagError: unknown name, or the value does not fit.
        """
        flag = self._flag(name)
        self._flags[name] = replace(flag, default=flag.convert(value, source="a new default"))

    def unset(self, name: str) -> None:
        """Forget what `set` and the command line said about a flag.

        Raises:
            FlagError: unknown name.
        """
        self._flag(name)
        self._set.pop(name, None)
        self._command_line().pop(name, None)

    def reset(self) -> None:
        """Forget all values that were set, and read `sys.argv` again at the next use."""
        self._set.clear()
        self._given.clear()
        self._argv = None

    def describe(self) -> str:
        """Return the text of `--mox-help`."""
        self.complete()
        groups: dict[str, list[Flag]] = {}
        for flag in self._flags.values():
            groups.setdefault(flag.group, []).append(flag)
        width = max(map(len, self._flags), default=0)
        lines = [
            "Flags of mox: on the command line, in the environment, or by mox.set_flag in the",
            "script, which wins over the command line, which wins over the environment.",
        ]
        for group, flags in groups.items():
            lines += ["", f"{group}:"]
            for flag in flags:
                words = map(str, flag.choices or (flag.type.__name__, *flag.words))
                kind = "|".join(filter(None, words))
                variables = ", ".join((flag.env, *flag.env_aliases))
                lines += [
                    f"  --{flag.name:{width}}  {flag.help}",
                    f"  {'':{width}}    {kind}, default {_shown(flag.default)}, {variables}",
                ]
        return "\n".join(lines)

    def _flag(self, name: str) -> Flag:
        if name not in self._flags:
            self.complete()
        try:
            return self._flags[name]
        except KeyError:
            from mox_core.plugins.suggest import did_you_mean

            advice = did_you_mean(str(name), self._flags) or " --mox-help lists all flags."
            raise FlagError(f"mox has no flag {name!r}.{advice}") from None

    def _command_line(self) -> dict[str, Any]:
        if self._argv is None:
            self.parse(sys.argv)
        return self._given


def _shown(default: Any) -> str:
    if default is None or default == "":
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _define_flags_of_plugins() -> None:
    from mox_core.plugins import get_manager

    get_manager().load_all()


_registry = FlagRegistry(DEFINITIONS, define_more=_define_flags_of_plugins)


def registry() -> FlagRegistry:
    """Return the registry of this process."""
    return _registry


def get_flag(name: str = "", *, flag_name: str = "") -> Any:
    """Return the value of one of mox's flags.

    Args:
        name: the flag's name, such as `"num_gpus"`.
        flag_name: the same under the name that MoXing's scripts use.

    Raises:
        FlagError: unknown name, or a value from the command line or the environment that does
            not fit.
    """
    return _registry.get(name or flag_name)


def set_flag(name: str, value: Any) -> None:
    """Set one of mox's flags from the script; wins over the command line.

    Call it before `mox.run`.

    Args:
        name: the flag's name.
        value: a value of the flag's type, or its text; None sets the default.

    Raises:
        FlagError: unknown name, or the value does not fit.
    """
    _registry.set(name, value)
