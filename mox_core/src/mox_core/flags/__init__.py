"""Flags: what mox lets a user set from the command line, the environment or a script.

A value set by `set_flag` wins over the command line, that over the environment (`MOX_<NAME>`),
that over the default. `sys.argv` is only read, so that the script's own parser (argparse, absl,
click) goes on working beside these flags; see `mox_core.flags.coexistence`.
"""

from __future__ import annotations

from mox_core.flags.coexistence import install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mox_core.flags.flag import Flag
    from mox_core.flags.flag_registry import FlagRegistry, get_flag, registry, set_flag

__all__ = ["Flag", "FlagRegistry", "get_flag", "install", "registry", "set_flag"]


def __getattr__(name: str) -> object:
    # Lazily: `import mox_core` installs the coexistence, and most scripts read a flag much later.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mox_core.flags import flag_registry

    value: object = getattr(flag_registry, name)
    globals()[name] = value
    return value
