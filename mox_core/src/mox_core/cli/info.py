"""`mox info`: describes the installation, to be pasted into a bug report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mox_core import __version__
from mox_core.cli.output import human_size
from mox_core.cli.plugins import lines_of
from mox_core.plugins import PluginInfo, get_manager

__all__ = ["main"]

_DISTRIBUTIONS = (
    "mox-core",
    "tensorflow",
    "tensorflow-cpu",
    "tf-keras",
    "torch",
    "mxnet",
    "numpy",
    "protobuf",
    "boto3",
    "esdk-obs-python",
    "fsspec",
    "pluggy",
)
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_USER_IN_URL = re.compile(r"//[^/@\s]*@")


def main(args: Sequence[str]) -> int:
    """Runs `mox info`.

    Args:
        args: What follows `info` on the command line.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(
        prog="mox info",
        description="Describes this installation, for bug reports. Shows no credentials.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(args)
    manager = get_manager()
    infos = manager.infos()
    manager.load_observers()
    reports = {
        name: {str(key): str(value) for key, value in report.items()}
        for name, report in manager.collect("mox_report_env").items()
    }
    system = {
        "mox": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cpus": _cpus(),
        "memory": _memory(),
    }
    sections = {
        "distributions": _versions(infos),
        "environment": _environment(),
        **{f"reported by {name}": report for name, report in reports.items()},
    }
    if options.json:
        plugins = [{**asdict(info), "group": info.group} for info in infos]
        result: dict[str, Any] = {**system, "plugins": plugins, "reports": reports}
        result["distributions"] = sections["distributions"]
        result["environment"] = sections["environment"]
        print(json.dumps(result, indent=2))
        return 0
    print("\n".join(_pairs(system)))
    for title, pairs in sections.items():
        print("\n".join(["", f"{title}:", *(f"  {line}" for line in _pairs(pairs))]))
    print("\n".join(["", "plugins:", *(f"  {line}" for line in lines_of(infos))]))
    return 0


def _pairs(pairs: dict[str, str]) -> list[str]:
    width = max(map(len, pairs), default=0)
    return [f"{name:{width}}  {value}" for name, value in pairs.items()]


def _cpus() -> str:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return str(count) if usable == count else f"{usable} of {count} usable"


def _memory() -> str:
    try:
        return human_size(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return "unknown"


def _versions(infos: Sequence[PluginInfo]) -> dict[str, str]:
    found = {info.distribution: info.version for info in infos if info.distribution}
    for name in _DISTRIBUTIONS:
        try:
            found.setdefault(name, version(name))
        except PackageNotFoundError:
            continue
    return found


def _environment() -> dict[str, str]:
    shown = {"TF_CONFIG": "set" if os.environ.get("TF_CONFIG") else "not set"}
    for name, value in sorted(os.environ.items()):
        if name == "CUDA_VISIBLE_DEVICES" or name.startswith("MOX_"):
            shown[name] = "(hidden)" if _SECRET.search(name) else _USER_IN_URL.sub("//", value)
    return shown
