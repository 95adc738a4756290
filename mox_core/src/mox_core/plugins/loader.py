"""The plugin manager: loads what is asked for, and keeps one plugin's failure from the others.

Engines, storage drivers and data sets are *selected* by name: only the entry point of that name is
loaded, and what is wrong with it is an error. Observers (group `mox.plugins`) are *told*: all of
them are loaded, and a broken one costs one warning line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mox_core._lazy import lazy_logger
from mox_core.errors import MoxError, PluginError
from mox_core.plugins import messages
from mox_core.plugins.calls import LoadedPlugins
from mox_core.plugins.checking import hooks_of
from mox_core.plugins.discovery import GROUPS, Candidate, Kind, discover
from mox_core.plugins.suggest import did_you_mean

if TYPE_CHECKING:
    import pluggy

    from mox_core.plugins.listing import PluginInfo, State

__all__ = ["PluginManager", "get_manager"]

logger = lazy_logger("mox")

_SELECT_HOOKS: dict[Kind, tuple[str, str]] = {
    "engine": ("mox_engine", "name"),
    "storage": ("mox_storage", "scheme"),
    "dataset": ("mox_dataset", "name"),
}
_FALSE = frozenset({"", "0", "false", "f", "no", "n", "off"})  # as for the flag `no_plugins`


class PluginManager:
    """The plugins of one process. Use `get_manager()` rather than making one.

    Attributes:
        enabled: False leaves the group `mox.plugins` alone (`--no-plugins`, `MOX_NO_PLUGINS=1`).
        only: The names, plain or as "group:name", to which loading is restricted (`MOX_PLUGINS`);
            None for no restriction.
    """

    def __init__(self) -> None:
        self.enabled = os.environ.get("MOX_NO_PLUGINS", "").lower() in _FALSE
        self.only = _names(os.environ.get("MOX_PLUGINS", "").split(",")) or None
        self._loaded = LoadedPlugins()
        self._by_hand: dict[str, PluginInfo] = {}
        self._candidates: list[Candidate] | None = None
        self._observers_loaded = False

    # ---- What is installed and may be loaded -----------------------------------------------------

    def configure(self, *, enabled: bool | None = None, only: Iterable[str] | None = None) -> None:
        """Restricts what is loaded, in place of the environment variables.

        Observers that were loaded from entry points and are no longer admitted are dropped.

        Args:
            enabled: Whether to load observers and commands; None leaves it as it is.
            only: The names of the plugins that may be loaded; None leaves it as it is.
        """
        if enabled is not None:
            self.enabled = enabled
        if only is not None:
            self.only = _names(only)
        if self._observers_loaded:
            self._observers_loaded = False
            for candidate in self.candidates("plugin"):
                if candidate.full_name in self._loaded and not self._admits(candidate):
                    self._loaded.drop(candidate.full_name)

    @property
    def disabled(self) -> bool:
        """True when observers and commands are not loaded."""
        return not self.enabled

    def candidates(self, kind: Kind, name: str | None = None) -> list[Candidate]:
        """What is installed, without importing it. Metadata are read once per process.

        Args:
            kind: The kind of plugin.
            name: Only the entry points of this name.
        """
        if self._candidates is None:
            self._candidates = discover()
            self._warn_of_unknown_names()
        return [c for c in self._candidates if c.kind == kind and name in (None, c.name)]

    def names(self, kind: Kind) -> list[str]:
        """The names that `select` admits, whether or not they load, in alphabetical order."""
        admitted = {c.name for c in self.candidates(kind) if self._admits(c)}
        return sorted(admitted | self._names_by_hand(kind))

    def _names_by_hand(self, kind: Kind) -> set[str]:
        return {info.name for info in self._by_hand.values() if info.kind == kind}

    def infos(self) -> list[PluginInfo]:
        """Describes every plugin, importing the module of each in isolation."""
        installed = [self._describe(c) for kind in GROUPS for c in self.candidates(kind)]
        return installed + list(self._by_hand.values())

    def _describe(self, candidate: Candidate) -> PluginInfo:
        from mox_core.plugins.listing import PluginInfo

        state: State = "ok"
        text: str | None = None
        hooks: tuple[str, ...] = ()
        problem = self._problem(candidate)
        if problem:
            state, text = problem[0], problem[1].splitlines()[0]
        else:
            try:
                hooks = hooks_of(candidate.entry_point.load())
            except (Exception, SystemExit) as error:
                state, text = "broken", messages.one_line(error)
        return PluginInfo(
            name=candidate.name,
            kind=candidate.kind,
            distribution=candidate.distribution,
            version=candidate.version,
            state=state,
            error=text,
            hooks=hooks,
        )

    def _problem(self, candidate: Candidate) -> tuple[State, str] | None:
        """Why not to import a plugin, if there is a reason."""
        if not self._admits(candidate):
            return "disabled", messages.excluded(candidate, self.only)
        same_name = self.candidates(candidate.kind, candidate.name)
        if len(same_name) > 1:
            return "duplicate", messages.duplicate(same_name)
        if candidate.unmet_requirement:
            return "incompatible", messages.incompatible(candidate)
        return None

    def _admits(self, candidate: Candidate) -> bool:
        if candidate.kind == "plugin" and self.disabled:
            return False
        return self.only is None or not self.only.isdisjoint((candidate.name, candidate.full_name))

    def _warn_of_unknown_names(self) -> None:
        known = {name for c in self._candidates or () for name in (c.name, c.full_name)}
        for name in sorted((self.only or frozenset()) - known):
            hint = did_you_mean(name, known)
            logger.warning("MOX_PLUGINS names '%s', which is not installed.%s", name, hint)

    # ---- Select ----------------------------------------------------------------------------------

    def select(self, kind: Kind, name: str, *, asked: str | None = None) -> Any:
        """Loads the one plugin of a name and returns what it provides.

        Args:
            kind: "engine", "storage" or "dataset".
            name: The entry-point name.
            asked: What the user wrote, for the message, when it is more than the name: a URL.

        Returns:
            What the plugin's select hook gave, never None.

        Raises:
            PluginError: It is absent, excluded, provided twice, made for another mox-core, or it
                failed; then the original exception is the cause.
        """
        hook, argument = _SELECT_HOOKS[kind]
        full_name = f"{GROUPS[kind]}:{name}"
        candidate = self.load(kind, name, asked=asked)
        try:
            provided = self._loaded.call_one(full_name, hook, **{argument: name})
        except MoxError:
            raise
        except (Exception, SystemExit) as error:
            if candidate is None:
                raise
            raise PluginError(messages.failed(candidate, error)) from error
        if provided is None:
            raise PluginError(messages.no_answer(kind, name, hook=hook))
        return provided

    def ask(self, kind: Kind, name: str, hook: str, **arguments: object) -> Any:
        """Calls a hook of the one plugin of a name, and of no other.

        Args:
            kind: "engine", "storage" or "dataset".
            name: The entry-point name.
            hook: The name of the hook.
            **arguments: Its arguments, as specified.

        Returns:
            The answer; None when the plugin does not implement the hook.

        Raises:
            PluginError: As for `select`.
        """
        self.load(kind, name)
        return self._loaded.call_one(f"{GROUPS[kind]}:{name}", hook, **arguments)

    def load(self, kind: Kind, name: str, *, asked: str | None = None) -> Candidate | None:
        """Imports the one plugin of a name and registers its hooks.

        Args:
            kind: The kind of plugin.
            name: The entry-point name.
            asked: As for `select`.

        Returns:
            Where it was found; None for one that the program registered itself.

        Raises:
            PluginError: As for `select`.
        """
        if f"{GROUPS[kind]}:{name}" in self._by_hand:
            return None
        candidate = self._find(kind, name, asked)
        try:
            self._load(candidate)
        except (Exception, SystemExit) as error:
            raise PluginError(messages.failed(candidate, error)) from error
        return candidate

    def _find(self, kind: Kind, name: str, asked: str | None) -> Candidate:
        found = self.candidates(kind, name)
        if not found:
            installed = self._names_by_hand(kind) | {c.name for c in self.candidates(kind)}
            raise PluginError(messages.not_installed(kind, name, asked=asked, installed=installed))
        problem = self._problem(found[0])
        if problem:
            raise PluginError(problem[1])
        return found[0]

    def _load(self, candidate: Candidate) -> None:
        if candidate.full_name not in self._loaded:
            plugin = candidate.entry_point.load()
            hooks_of(plugin)
            self._add(candidate.full_name, plugin)

    def _add(self, full_name: str, plugin: object) -> None:
        self._loaded.add(full_name, plugin)
        for implementation in self._loaded.implementations("mox_add_flags"):
            if implementation.plugin is plugin:
                from mox_core.flags import registry

                self._loaded.call_isolated(implementation, {"registry": registry()})

    def load_all(self) -> None:
        """Imports every plugin, for its flags; what fails is told to whoever asks for it."""
        for kind in GROUPS:
            for name in self.names(kind):
                with suppress(PluginError):
                    self.load(kind, name)

    # ---- Tell ------------------------------------------------------------------------------------

    def load_observers(self) -> None:
        """Loads the plugins of group `mox.plugins`, once. What fails is warned of and left out."""
        if self._observers_loaded:
            return
        self._observers_loaded = True
        for candidate in self.candidates("plugin"):
            if not self._admits(candidate):
                continue
            try:
                self.load("plugin", candidate.name)
            except PluginError as error:
                first, _, advice = str(error).partition("\n")
                text = f"{first.rstrip('.')}. {advice.strip()}"
                self._loaded.warn_once(candidate.full_name, text, error.__cause__)

    @property
    def hook(self) -> pluggy.HookRelay:
        """The relay of pluggy, which lets exceptions through: for tests of plugins."""
        return self._loaded.hook

    def implements(self, *hooks: str) -> bool:
        """True when a loaded plugin implements one of these hooks."""
        return any(self._loaded.implementations(hook) for hook in hooks)

    def notify(self, hook: str, **arguments: object) -> None:
        """Tells all plugins. One that raises is warned of once, and the others are still told.

        Args:
            hook: The name of the hook.
            **arguments: Its arguments, as specified.
        """
        for implementation in self._loaded.implementations(hook):
            self._loaded.call_isolated(implementation, arguments)

    def collect(self, hook: str, **arguments: object) -> dict[str, Any]:
        """Asks all plugins, isolated as in `notify`.

        Args:
            hook: The name of the hook.
            **arguments: Its arguments, as specified.

        Returns:
            The full name of each plugin whose answer is not None, and the answer.
        """
        answers = {
            implementation.plugin_name: self._loaded.call_isolated(implementation, arguments)
            for implementation in self._loaded.implementations(hook)
        }
        return {name: answer for name, answer in answers.items() if answer is not None}

    def decide(self, hook: str, **arguments: object) -> Any:
        """Asks plugins until one answers, isolated as in `notify`.

        Args:
            hook: The name of the hook.
            **arguments: Its arguments, as specified.

        Returns:
            The first answer that is not None, or None.
        """
        for implementation in self._loaded.implementations(hook):
            answer = self._loaded.call_isolated(implementation, arguments)
            if answer is not None:
                return answer
        return None

    # ---- Plugins without a distribution ----------------------------------------------------------

    def register(self, plugin: object, name: str, *, kind: Kind = "plugin") -> None:
        """Registers a plugin that no distribution provides, in this process only.

        Worker processes do not have it: what they need belongs in an entry point. It goes before
        an installed plugin of the same name, and `MOX_PLUGINS` does not concern it.

        Args:
            plugin: A module or an object with implementations of hooks.
            name: Its name; that of an engine, a driver or a data set is what `select` is asked for.
            kind: What it provides.

        Raises:
            PluginError: The plugin does not fit the hooks, or the name is taken.
        """
        from mox_core.plugins.listing import PluginInfo

        full_name = f"{GROUPS[kind]}:{name}"
        if full_name in self._loaded:
            raise PluginError(f"a plugin '{full_name}' is loaded already: take another name.")
        try:
            hooks = hooks_of(plugin)
        except Exception as error:
            text = f"plugin '{full_name}' cannot be registered: {messages.one_line(error)}"
            raise PluginError(text) from error
        self._add(full_name, plugin)
        self._by_hand[full_name] = PluginInfo(
            name=name, kind=kind, distribution="", version="", hooks=hooks
        )

    def unregister(self, name: str, *, kind: Kind = "plugin") -> None:
        """Takes back a plugin that `register` added.

        Args:
            name: As in `register`.
            kind: As in `register`.

        Raises:
            PluginError: No plugin was registered under this name.
        """
        full_name = f"{GROUPS[kind]}:{name}"
        if full_name not in self._by_hand:
            raise PluginError(f"no plugin '{full_name}' was registered by this program.")
        del self._by_hand[full_name]
        self._loaded.drop(full_name)


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip() for name in names if name.strip())


_managers: dict[int, PluginManager] = {}


def get_manager() -> PluginManager:
    """The plugin manager of this process.

    A forked worker gets one of its own, with the settings of its parent's: it loads its observers
    itself, from entry points. Plugins that the parent added with `register` are not in it.
    """
    pid = os.getpid()
    if pid not in _managers:
        manager = PluginManager()
        if _managers:
            parent = next(reversed(_managers.values()))
            manager.configure(enabled=parent.enabled, only=parent.only)
        _managers.setdefault(pid, manager)
    return _managers[pid]
