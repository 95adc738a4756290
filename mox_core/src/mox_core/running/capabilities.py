"""What a run asks for, held against what the engine can do."""

from __future__ import annotations

import logging

from mox_core.engine import Engine
from mox_core.errors import EngineError, SpecError
from mox_core.flags import registry
from mox_core.running.plan import RunPlan

__all__ = ["check_capabilities", "flags_for_all_engines", "warn_of_ignored_flags"]

# Honoured by the core for every engine, or read by mox.file.
_CORE_FLAGS = frozenset(
    {
        "checkpoint_exclude_patterns",
        "checkpoint_include_patterns",
        "engine",
        "keep_checkpoint_max",
        "log_first_clone",
        "nan",
        "no_plugins",
        "num_gpus",
        "progress",
        "running_log_level",
        "silent",
    }
)
_CLUSTER_FLAGS = ("ps_hosts", "worker_hosts")
_ROLE_FLAGS = frozenset({*_CLUSTER_FLAGS, "job_name", "task_index", "rank"})


def check_capabilities(engine: Engine, plan: RunPlan) -> None:
    """Refuses what the engine cannot do.

    Raises:
        EngineError: neutral functions, towers, a cluster or an inter mode that it does not have.
        SpecError: it does not batch.
    """
    able = engine.capabilities
    if plan.neutral and not able.neutral:
        raise EngineError(
            f"engine {engine.name!r} does not run neutral scripts, with models over mox.nn.\n"
            f"  Give functions of its own kind: model_fn={{{engine.name!r}: model_fn}}, or import "
            "its package as mox."
        )
    if plan.towers > 1 and not able.towers:
        raise EngineError(
            f"engine {engine.name!r} runs one tower, but --num_gpus is {plan.towers}.\n"
            "  Leave --num_gpus out, or choose another engine."
        )
    if plan.inter_mode is not None and plan.training and not able.inter_mode:
        raise EngineError(
            f"engine {engine.name!r} cannot evaluate in the middle of training "
            f"(inter_mode={plan.inter_mode!s}).\n  Leave inter_mode out."
        )
    if plan.auto_batch and not able.auto_batch:
        raise SpecError(
            f"engine {engine.name!r} does not batch single samples.\n"
            "  Let input_fn return batches and pass auto_batch=False."
        )
    for name in _CLUSTER_FLAGS:
        hosts = registry().get(name)
        if hosts and (name == "ps_hosts" or "," in hosts) and not able.distributed:
            raise EngineError(
                f"engine {engine.name!r} runs on one machine, but --{name} is {hosts!r}.\n"
                f"  Leave --{name} out."
            )


def flags_for_all_engines() -> frozenset[str]:
    """Names of the flags that mean something to every engine."""
    return _CORE_FLAGS | _ROLE_FLAGS


def warn_of_ignored_flags(engine: Engine, logger: logging.Logger) -> None:
    """Says which flags were set but mean nothing to the engine."""
    flags = registry()
    known = flags_for_all_engines() | engine.capabilities.flags
    ignored = [
        name
        for name in flags.names()
        if name not in known
        and flags.flags[name].of_run
        and flags.get(name) != flags.flags[name].default
    ]
    if ignored:
        names = ", ".join(f"--{name}" for name in sorted(ignored))
        logger.warning("Engine %r ignores %s.", engine.name, names)
