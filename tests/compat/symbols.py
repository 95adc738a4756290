"""The table of docs/migrate.md: `python tests/compat/symbols.py` writes it anew.

What stands in it is looked up in the installed packages: a symbol that is there with the arguments
that the manuals document works, one that is not there is not offered.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "migrate.md"
_HEADER = ("", "| name | state | |", "|---|---|---|")
BEGIN, END = "<!-- symbols: begin -->\n", "<!-- symbols: end -->\n"


@dataclass(frozen=True)
class Symbol:
    """A documented name.

    Attributes:
        name: as scripts write it, below the module of its group.
        arguments: documented, in their order.
        note: where it differs, or why it is not offered and what to use.
        values: the constants of a class.
    """

    name: str
    arguments: str = ""
    note: str = ""
    values: str = ""


@dataclass(frozen=True)
class Group:
    title: str
    module: str
    symbols: tuple[Symbol, ...]


_RAW = (
    "metadata, batch_size, num_readers, num_epochs, shuffle, shuffle_buffer_size, capacity, "
    "cache_dir, preprocess_fn, preprocess_threads, image_size, remove_cache_on_finish, "
    "private_num_threads, reader_class, reader_kwargs, drop_remainder"
)
_NETWORKS = """
    ALEXNET_V2 CIFARNET OVERFEAT VGG_A VGG_16 VGG_19 VGG_A_BN VGG_16_BN VGG_19_BN INCEPTION_V1
    INCEPTION_V2 INCEPTION_V3 INCEPTION_V4 INCEPTION_RESNET_V2 LENET RESNET_V1_18 RESNET_V1_50
    RESNET_V1_50_8K RESNET_V1_101 RESNET_V1_152 RESNET_V1_200 RESNET_V2_50 RESNET_V2_101
    RESNET_V2_152 RESNET_V2_200 RESNEXT_B_50 RESNEXT_B_101 RESNEXT_C_50 RESNEXT_C_101 PVANET
    MOBILENET_V1 MOBILENET_V1_075 MOBILENET_V1_050 MOBILENET_V1_025 MOBILENET_V2 MOBILENET_V2_140
    MOBILENET_V2_035 RESNET_V1_20 RESNET_V1_110 NASNET_CIFAR NASNET_MOBILE NASNET_LARGE
    PNASNET_LARGE PNASNET_MOBILE"""

GROUPS = (
    Group(
        "Files",
        "moxing.framework.file",
        (
            Symbol("File", "name, mode"),
            Symbol("append", "url, data, binary"),
            Symbol("append_remote", "src_url, dst_url"),
            Symbol("background_sync_copy"),
            Symbol("copy", "src_url, dst_url, client_id"),
            Symbol(
                "copy_parallel",
                "src_url, dst_url, file_list, threads, is_processing, use_queue",
                "threads do the work; a second process helps from 1000 files on",
            ),
            Symbol("exists", "url"),
            Symbol("get_size", "url, recursive"),
            Symbol("glob", "url"),
            Symbol("is_directory", "url"),
            Symbol(
                "list_directory",
                "url, recursive, remove_sep, skip_file, skip_dir",
                "local folders, too, are listed one level deep unless `recursive`",
            ),
            Symbol("make_dirs", "url"),
            Symbol("mk_dir", "url"),
            Symbol("read", "url, client_id, binary"),
            Symbol("remove", "url, recursive"),
            Symbol("rename", "src_url, dst_url"),
            Symbol("scan_dir", "url"),
            Symbol(
                "set_auth",
                "ak, sk, server, port, is_secure, ssl_verify, long_conn_mode, path_style, retry, "
                "retry_wait, client_timeout, list_max_keys, obs_client_log, timeout_config, "
                "negotiation",
            ),
            Symbol("shift"),
            Symbol("stat", "src_url"),
            Symbol("walk", "url, topdown, onerror, followlinks"),
            Symbol("write", "url, data, binary"),
            Symbol("MoxFileNameDuplicateException"),
            Symbol("MoxFileNotExistsException"),
            Symbol("MoxFileReadException"),
            Symbol("MoxFileRespException"),
            Symbol("file_io", note="its tuning variables may be set, and mean nothing"),
        ),
    ),
    Group(
        "Helpers",
        "moxing.framework.util",
        (
            Symbol("compat.as_str"),
            Symbol("compat.as_bytes"),
            Symbol("runtime.reset_logger", note="mox never touches the root logger"),
        ),
    ),
    Group(
        "TensorFlow: runs",
        "moxing.tensorflow",
        (
            Symbol(
                "run",
                "input_fn, output_fn, model_fn, optimizer_fn, run_mode, inter_mode, batch_size, "
                "auto_batch, log_dir, max_number_of_steps, checkpoint_path, log_every_n_steps, "
                "output_every_n_steps, save_summary_steps, save_model_secs, export_model, "
                "fetch_strategy_fn, save_model_steps",
                "`fetch_strategy_fn` is accepted, without effect; no trial steps at the start",
            ),
            Symbol("ModelSpec", "loss, var_scopes, log_info, output_info, export_spec, hooks"),
            Symbol("ExportSpec", "inputs_dict, outputs_dict, version"),
            Symbol("ModeKeys", values="TRAIN EVAL PREDICT EXPORT"),
            Symbol("ExportKeys", values="TF_SERVING"),
            Symbol("InputSpec", "split_to_device", "every tower gets batches of its own anyway"),
            Symbol("get_flag", "name, flag_name"),
            Symbol("set_flag", "name, value"),
            Symbol("get_collection", "key"),
            Symbol("var_scope", "force_dtype", "variables are resource variables: no `_ref`"),
            Symbol("AggregativeSessionRunHook"),
            Symbol(
                "EarlyStoppingHook",
                "monitor_info, monitor, batch_size, samples_in_train, samples_in_eval, "
                "evaluate_every_n_epochs, min_delta, patience, prefix",
            ),
            Symbol(
                "LogEvaluationMetricHook",
                "monitor_info, batch_size, samples_in_train, samples_in_eval, "
                "evaluate_every_n_epochs, prefix",
            ),
            Symbol("executor.hooks.FeedSessionRunHook", "feed_dict"),
            Symbol("executor.ops_adapter.rank"),
            Symbol("executor.ops_adapter.size"),
            Symbol("utils.hyper_param_flags.mox_flags"),
            Symbol("utils.tf_util.version_info", note="two numbers, those of today's TensorFlow"),
        ),
    ),
    Group(
        "TensorFlow: optimizers",
        "moxing.tensorflow",
        (
            Symbol("get_optimizer_fn", "name, learning_rate, scope"),
            Symbol("get_optimizer_wrapper_fn", "name, optimizer"),
            Symbol(
                "optimizer.learning_rate_scheduler.piecewise_lr",
                "lr_strategy, num_samples, global_batch_size",
            ),
            Symbol(
                "optimizer.learning_rate_scheduler.linear_cosine_decay",
                note="TensorFlow's arguments: `learning_rate, decay_steps`",
            ),
            Symbol(
                "optimizer.learning_rate_scheduler.polynomial_decay",
                note="TensorFlow's arguments: `learning_rate, decay_steps`",
            ),
            Symbol(
                "optimizer.dynamic_momentum",
                note="nothing public says what it computes; use an optimizer of `tf.train`",
            ),
        ),
    ),
    Group(
        "TensorFlow: networks",
        "moxing.tensorflow",
        (
            Symbol(
                "get_model_fn",
                "name, run_mode, num_classes, weight_decay, data_format, batch_norm_fused, "
                "batch_renorm, image_height, image_width, preprocess_fn",
            ),
            Symbol("get_model_meta", "name"),
            Symbol("NetworkKeys", values=_NETWORKS),
        ),
    ),
    Group(
        "TensorFlow: data",
        "moxing.tensorflow",
        (
            Symbol("ImageClassificationRawMetadata", "base_dir, redirect_dir, labels_filename"),
            Symbol("ImageClassificationRawDataset", f"{_RAW}, augmentation_fn, label_one_hot"),
            Symbol(
                "ImageClassificationTFRecordMetadata",
                "base_dir, file_pattern, num_samples, redirect_dir, num_classes, label_map_file",
            ),
            Symbol(
                "ImageClassificationTFRecordDataset",
                "metadata, batch_size, shuffle, shuffle_buffer_size, num_parallel, num_epochs, "
                "cache_dir, preprocess_fn, image_size, remove_cache_on_finish, "
                "private_num_threads, custom_feature_keys, custom_feature_values, drop_remainder, "
                "augmentation_fn, label_one_hot",
            ),
            Symbol(
                "MultilabelClassificationRawMetadata",
                "base_dir, images_sub_dir, labels_sub_dir, labels_extension, redirect_dir, "
                "labels_filename",
            ),
            Symbol(
                "MultilabelClassificationRawDataset",
                f"{_RAW}, label_sep, skip_label_not_found, augmentation_fn",
            ),
            Symbol("AsyncRawGenerator"),
            Symbol("get_dataset", "name, split_name, dataset_dir"),
            Symbol("get_dataset_meta", "name"),
            Symbol("get_tfrecord"),
            Symbol("datasets.tfrecord_common.BaseTFRecordDataset"),
            Symbol("datasets.raw.raw_dataset.split_image_classification_dataset"),
            Symbol("get_data_augmentation_fn", "name, run_mode, output_height, output_width"),
            Symbol("PreprocessingKeys", values=f"INCEPTION VGG {_NETWORKS}"),
        ),
    ),
    Group(
        "PyTorch",
        "moxing.pytorch",
        (
            Symbol("run", note="both signatures: the one above, and `input_data=, model=, ...`"),
            Symbol("dist.init_process_group", "mp, gpu", "torchrun starts the processes"),
            Symbol("dist.AutoModule", note="returns the model: the engine averages gradients"),
            Symbol("dist.AutoDataLoader"),
            Symbol("executor.enumerate.ModeKeys", values="TRAIN EVAL PREDICT"),
            Symbol("tools.AverageMeter.AverageMeter"),
            Symbol("get_flag"),
        ),
    ),
)

_FLAGS = """
    num_gpus job_name task_index ps_hosts worker_hosts sync_replicas variable_update
    loss_scale checkpoint_exclude_patterns checkpoint_include_patterns
    trainable_include_patterns trainable_exclude_patterns gradient_clip_type gradient_clip
    num_inter_threads num_intra_threads log_first_clone clone_on_cpu use_fp16
    local_parameter_device server_protocol session_timeout num_prefetch_threads
    running_log_level rank"""


def resolve(module, name):
    """Returns what a dotted name stands for; None where there is nothing."""
    value = importlib.import_module(module)
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(f"{value.__name__}.{part}")
            except (ImportError, AttributeError):
                return None
    return value


def lacking(symbol, value):
    """Documented arguments and constants that are not there, or not in their order."""
    missing = [one for one in symbol.values.split() if not hasattr(value, one)]
    documented = [one.strip() for one in symbol.arguments.split(",") if one.strip()]
    if documented:
        parameters, in_order = parameters_of(value)
        there = [one for one in documented if one in parameters]
        missing += [one for one in documented if one not in parameters]
        if in_order and sorted(there, key=parameters.index) != there:
            missing.append("the documented order")
    return missing


def parameters_of(value):
    """Names of all arguments, those that a class hands on to its base too; are they in order?"""
    parameters = inspect.signature(value).parameters.values()
    names = [parameter.name for parameter in parameters]
    hands_on = any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters)
    if not inspect.isclass(value) or not hands_on:
        return names, True
    for base in value.__mro__[1:-1]:
        names += inspect.signature(base.__init__).parameters
    return names, False


def state(group, symbol):
    value = resolve(group.module, symbol.name)
    if value is None:
        return "not offered", symbol.note or "not there yet"
    missing = lacking(symbol, value)
    notes = [symbol.note] if symbol.note else []
    if missing:
        notes.append(f"without `{', '.join(missing)}`")
    return ("works with a difference", "; ".join(notes)) if notes else ("works", "")


def table():
    from mox_core.flags import registry
    from mox_core.running.capabilities import flags_for_all_engines
    from mox_tf import TensorFlowEngine

    effective = flags_for_all_engines() | TensorFlowEngine().capabilities.flags
    lines = []
    for group in GROUPS:
        lines += [
            f"### {group.title} (`{group.module}`)",
            "",
            "| name | state | |",
            "|---|---|---|",
        ]
        lines += [
            f"| `{symbol.name}` | {' | '.join(state(group, symbol))} |" for symbol in group.symbols
        ]
        lines.append("")
    lines += ["### Flags, with TensorFlow", *_HEADER]
    for name in _FLAGS.split():
        found = "works" if name in effective else "accepted, without effect"
        lines.append(f"| `{name}` | {found} | {registry().flags[name].help} |")
    return "\n".join(lines) + "\n"


def written():
    """The table that stands in the docs."""
    return DOCS.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
