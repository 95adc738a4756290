"""The flags of mox itself. Plugins add theirs through the hook `mox_add_flags`."""

from __future__ import annotations

from mox_core.flags.flag import Flag

__all__ = ["DEFINITIONS"]

_RUN = "Run"
_OUTPUT = "Output"
_CHECKPOINTS = "Checkpoints and variables"
_TRAINING = "Training"
_DEVICES = "Devices and threads"
_CLUSTER = "Cluster"

DEFINITIONS: tuple[Flag, ...] = (
    Flag("engine", str, None, "engine that runs the script, such as tf", _RUN),
    Flag("no_plugins", bool, False, "load no plugins but the engine that is asked for", _RUN),
    Flag(
        "nan",
        str,
        "stop",
        "what to do when the loss is not finite",
        _RUN,
        choices=("stop", "ignore"),
    ),
    Flag(
        "silent",
        bool,
        False,
        "print nothing but warnings and errors",
        _OUTPUT,
        env_aliases=("MOX_SILENT_MODE",),
    ),
    Flag(
        "progress",
        str,
        "auto",
        "progress bar; auto: only on a terminal",
        _OUTPUT,
        choices=("auto", "on", "off"),
    ),
    Flag("running_log_level", str, "INFO", "lowest level of log lines to print", _OUTPUT),
    Flag(
        "log_first_clone",
        bool,
        True,
        "with several towers, EVAL logs the values of the first one",
        _OUTPUT,
    ),
    Flag("keep_checkpoint_max", int, 5, "checkpoints to keep; 0: all", _CHECKPOINTS),
    Flag(
        "checkpoint_include_patterns",
        str,
        "",
        "restore only variables whose names match one of these, separated by commas",
        _CHECKPOINTS,
    ),
    Flag(
        "checkpoint_exclude_patterns",
        str,
        "",
        "restore no variables whose names match one of these, separated by commas",
        _CHECKPOINTS,
    ),
    Flag(
        "trainable_include_patterns",
        str,
        "",
        "train only variables whose names match one of these, separated by commas",
        _CHECKPOINTS,
    ),
    Flag(
        "trainable_exclude_patterns",
        str,
        "",
        "train no variables whose names match one of these, separated by commas",
        _CHECKPOINTS,
    ),
    Flag("use_fp16", bool, False, "compute in half precision", _TRAINING),
    Flag(
        "loss_scale",
        float,
        1.0,
        "factor of the loss while gradients are computed; dynamic: found while training",
        _TRAINING,
        words=("dynamic",),
    ),
    Flag(
        "gradient_clip_type",
        str,
        None,
        "norm: the gradients of a loss together; value: each number of them",
        _TRAINING,
        choices=("norm", "value"),
    ),
    Flag("gradient_clip", float, None, "limit at which gradients are clipped", _TRAINING),
    Flag(
        "profile_steps",
        str,
        "",
        "first and last step to profile, such as 100,102; the traces go into log_dir",
        _TRAINING,
    ),
    Flag("xla", bool, False, "compile the program with XLA", _DEVICES),
    Flag("num_gpus", int, 1, "towers in this process, one per GPU", _DEVICES),
    Flag("clone_on_cpu", bool, False, "place the towers on the CPU", _DEVICES),
    Flag(
        "local_parameter_device",
        str,
        "cpu",
        "device of the variables that the towers share",
        _DEVICES,
        choices=("cpu", "gpu"),
    ),
    Flag("num_inter_threads", int, 0, "threads that run operations; 0: automatic", _DEVICES),
    Flag("num_intra_threads", int, 0, "threads inside one operation; 0: automatic", _DEVICES),
    Flag("num_prefetch_threads", int, 1, "threads that prepare batches ahead", _DEVICES),
    Flag("job_name", str, "", "role of this process, such as ps or worker", _CLUSTER),
    Flag("task_index", int, 0, "number of this process within its role", _CLUSTER),
    Flag("rank", int, 0, "number of this process among all that train", _CLUSTER),
    Flag("ps_hosts", str, "", "host:port of the parameter servers, by commas", _CLUSTER),
    Flag("worker_hosts", str, "", "host:port of the workers, separated by commas", _CLUSTER),
    Flag(
        "variable_update",
        str,
        "parameter_server",
        "how gradients reach the variables",
        _CLUSTER,
        choices=("parameter_server", "replicated", "distributed_replicated"),
    ),
    Flag("sync_replicas", bool, False, "workers update the variables together", _CLUSTER),
    Flag("server_protocol", str, "grpc", "protocol between the processes", _CLUSTER),
    Flag(
        "session_timeout",
        int,
        600,
        "seconds to wait for other processes of the cluster; 0: no limit",
        _CLUSTER,
    ),
)
