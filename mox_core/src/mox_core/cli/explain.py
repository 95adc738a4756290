"""Says in a line or two what a script's error means, where that is known.

Python 2 is known here; what engines know comes from plugins (`mox_explain_error`).
"""

from __future__ import annotations

import os
import re
import sys
import traceback

from mox_core.plugins import get_manager

__all__ = ["explain", "place"]

_ADVICE = (
    "  mox runs on Python 3: convert the script with 2to3, which comes with Python up to 3.12."
)

# What Python 3 says of Python 2's syntax, or what stands in the line -> what it was.
_MESSAGES = {
    r"Missing parentheses in call to '(print|exec)'": "{} was a statement",
    r"multiple exception types must be parenthesized": "`except A, b` is `except A as b` now",
    r"leading zeros in decimal integer literals": "octal numbers are written 0o777 now",
    r"inconsistent use of tabs and spaces": "it mixes tabs and spaces",
    r"parameters cannot be parenthesized": "parameters cannot be tuples any more",
}
_LINES = {
    r"\braise\s+[\w.]+\s*,": "`raise A, b` is `raise A(b)` now",
    r"\bexcept\s+[\w.]+\s*,\s*\w+\s*:": "`except A, b` is `except A as b` now",
    r"\bprint\s+[^(=\s]": "print was a statement",
    r"\bexec\s+[^(=\s]": "exec was a statement",
    r"\b\d+[lL]\b": "`10L` is `10` now",
    r"<>": "`<>` is `!=` now",
    r"`": "backticks are `repr(...)` now",
    r"\bur['\"]": "`ur''` is `r''` now",
}
_NAMES = {
    "basestring": "str",
    "cmp": "(a > b) - (a < b)",
    "execfile": "exec(open(path).read())",
    "long": "int",
    "raw_input": "input",
    "reduce": "functools.reduce",
    "reload": "importlib.reload",
    "unichr": "chr",
    "unicode": "str",
    "xrange": "range",
}
_MODULES = {
    "cPickle": "pickle",
    "ConfigParser": "configparser",
    "commands": "subprocess",
    "cStringIO": "io",
    "Queue": "queue",
    "StringIO": "io",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
}
_METHODS = {
    "iteritems": "items",
    "iterkeys": "keys",
    "itervalues": "values",
    "has_key": "`key in`",
}


def explain(error: BaseException) -> str | None:
    """Returns what an error means and what to do, in a line or two; None where it is not known."""
    explanation = _python_2(error)
    if explanation is None:
        explanation = get_manager().decide("mox_explain_error", error=error)
    return explanation


def place(error: BaseException) -> str:
    """Returns file and line where an error was raised: the innermost in the script's folder."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "the script"
    script = os.path.abspath(getattr(sys.modules["__main__"], "__file__", "") or "")
    own = [one for one in frames if one.filename.startswith(os.path.dirname(script) + os.sep)]
    frame = (own or frames)[-1]
    return f"{_shown(frame.filename)}, line {frame.lineno}"


def _python_2(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError):
        found = _syntax(error)
        if found is None:
            return None
        line = (error.text or "").strip()
        where = f"{_shown(error.filename or 'the script')}, line {error.lineno}"
        return f"{where} is Python 2: {found}.\n  {line}\n{_ADVICE}"
    name = getattr(error, "name", None)
    if isinstance(error, NameError) and name in _NAMES:
        what, now = f"the name `{name}`", _NAMES[name]
    elif isinstance(error, ModuleNotFoundError) and name in _MODULES:
        what, now = f"the module `{name}`", _MODULES[name]
    elif isinstance(error, AttributeError) and isinstance(error.obj, dict) and name in _METHODS:
        what, now = f"the method `{name}` of dictionaries", _METHODS[name]
    else:
        return None
    return f"{place(error)}: {what} is of Python 2; it is {now} now.\n{_ADVICE}"


def _syntax(error: SyntaxError) -> str | None:
    for pattern, meaning in _MESSAGES.items():
        if found := re.search(pattern, error.msg):
            return meaning.format(*found.groups())
    for pattern, meaning in _LINES.items():
        if re.search(pattern, error.text or ""):
            return meaning
    return None


def _shown(path: str) -> str:
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith("..") else relative
