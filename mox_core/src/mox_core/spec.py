"""What the user's functions return: run modes, export formats, ModelSpec and ExportSpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mox_core.errors import ModeError, SpecError
from mox_core.wording import a_type, returned_type

__all__ = ["ExportKeys", "ExportSpec", "Mode", "ModeKeys", "ModelSpec", "not_scalar_error"]


class Mode(str):
    """A run mode: a string that also equals its older spellings (`'train'`, `'evaluation'`).

    Hashes as its upper-case name, so dictionaries need that spelling as their key.
    """

    _SPELLINGS = {
        "TRAIN": ("train", "training"),
        "EVAL": ("eval", "evaluate", "evaluation"),
        "PREDICT": ("predict", "prediction", "infer"),
        "EXPORT": ("export",),
    }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        return str.__eq__(self, other) or other.lower() in self._SPELLINGS.get(str(self), ())

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = str.__hash__


class ModeKeys:
    """The run modes of `mox.run` (manual 004, section 1).

    `EXPORT` cannot be asked for: `mox.run(export_model=...)` adds it after the run.
    """

    TRAIN = Mode("TRAIN")
    EVAL = Mode("EVAL")
    PREDICT = Mode("PREDICT")
    EXPORT = Mode("EXPORT")

    @classmethod
    def parse(cls, value: object, *, argument: str = "run_mode") -> Mode:
        """Returns the mode that `value` spells.

        Raises:
            ModeError: `value` is no mode that a run can have; a ValueError too.
        """
        runnable = (cls.TRAIN, cls.EVAL, cls.PREDICT)
        for mode in runnable:
            if mode == value:
                return mode
        raise ModeError(
            f"{argument}={value!r} is not a run mode.\n  Use one of mox.ModeKeys."
            f"{{{', '.join(runnable)}}}."
        )


class ExportKeys:
    """Export formats with a name of their own; an engine may offer more by plain strings."""

    TF_SERVING = "tf_serving"


@dataclass(frozen=True)
class ExportSpec:
    """Inputs and outputs of an exported model (manual 004, section 2, ExportSpec).

    Args:
        inputs_dict: name in the signature -> tensor of the model.
        outputs_dict: name in the signature -> tensor of the model.
        version: a number, -1 for one more than the highest that exists, or the name of
            the folder below `log_dir`.

    Raises:
        SpecError: a dictionary is empty or is none, or the version does not fit.
    """

    inputs_dict: Mapping[str, Any]
    outputs_dict: Mapping[str, Any]
    version: int | str = -1

    def __post_init__(self) -> None:
        for name in ("inputs_dict", "outputs_dict"):
            _check_names(f"ExportSpec.{name}", getattr(self, name))
            if not getattr(self, name):
                raise SpecError(f"ExportSpec.{name} is empty; name at least one tensor.")
        version = self.version
        if isinstance(version, bool) or not isinstance(version, (int, str)):
            raise SpecError(
                f"ExportSpec.version is {version!r}; give a number (-1: the next one) or a name."
            )
        if isinstance(version, int) and version < -1:
            raise SpecError(f"ExportSpec.version is {version}; give -1, 0 or more.")
        if isinstance(version, str) and (
            not version or version in (".", "..") or "/" in version or "\\" in version
        ):
            raise SpecError(
                f"ExportSpec.version is {version!r}; it names one folder below log_dir, "
                "so it cannot be empty or hold a path separator."
            )


@dataclass(frozen=True, init=False)
class ModelSpec:
    """What `model_fn` returns (manual 004, section 2, ModelSpec).

    Which fields a mode requires: TRAIN `loss`, EVAL `log_info`, PREDICT `output_info`,
    EXPORT `export_spec`.

    Args:
        loss: a scalar tensor, or a list of them (one optimization each in every step).
        var_scopes: for one loss a list of variable scopes whose variables it updates; for a
            list of losses one such list per loss. None: all trainable variables.
        log_info: name -> scalar tensor, shown on the log line in this order.
        output_info: name -> tensor of any shape, handed to `output_fn`.
        export_spec: what to export.
        hooks: run hooks (`mox.RunHook`) and hooks of the engine's own kind.
        output_dict: another spelling of `output_info`, used by some scripts.

    Attributes:
        losses: the losses as a list, empty when there is none.

    Raises:
        SpecError: a field has the wrong type or shape.
    """

    loss: Any = None
    var_scopes: Sequence[Any] | None = None
    log_info: Mapping[str, Any] | None = None
    output_info: Mapping[str, Any] | None = None
    export_spec: ExportSpec | None = None
    hooks: Sequence[Any] | None = None
    output_dict: Mapping[str, Any] | None = None
    losses: list[Any] = field(init=False, repr=False, compare=False)

    # Not the one of dataclasses: an eager engine makes a ModelSpec in every step, and setting the
    # attributes of a frozen one in the usual way takes longer than all checks.
    def __init__(
        self,
        loss: Any = None,
        var_scopes: Sequence[Any] | None = None,
        log_info: Mapping[str, Any] | None = None,
        output_info: Mapping[str, Any] | None = None,
        export_spec: ExportSpec | None = None,
        hooks: Sequence[Any] | None = None,
        output_dict: Mapping[str, Any] | None = None,
    ) -> None:
        if output_dict is not None:
            if output_info is not None:
                raise SpecError("ModelSpec got both output_info and output_dict; give one.")
            output_info = output_dict
        fields = self.__dict__
        fields["loss"] = loss
        fields["var_scopes"] = var_scopes
        fields["log_info"] = log_info
        fields["output_info"] = output_info
        fields["export_spec"] = export_spec
        fields["hooks"] = hooks
        fields["output_dict"] = output_dict
        if isinstance(loss, (list, tuple)):
            fields["losses"] = list(loss)
            if any(one is None for one in loss):
                raise SpecError("ModelSpec.loss is a list that holds None.")
        else:
            fields["losses"] = [] if loss is None else [loss]
        if log_info is not None:
            _check_names("ModelSpec.log_info", log_info)
        if output_info is not None:
            _check_names("ModelSpec.output_info", output_info)
        if export_spec is not None and not isinstance(export_spec, ExportSpec):
            raise SpecError(
                f"ModelSpec.export_spec is {a_type(export_spec)}; it has to be a mox.ExportSpec."
            )
        if hooks is not None and not isinstance(hooks, (list, tuple)):
            raise SpecError(f"ModelSpec.hooks is {a_type(hooks)}; give a list.")
        if var_scopes is not None:
            self._check_var_scopes(var_scopes)

    def _check_var_scopes(self, scopes: object) -> None:
        if isinstance(self.loss, (list, tuple)):
            fits = (
                isinstance(scopes, (list, tuple))
                and len(scopes) == len(self.loss)
                and all(_is_list_of_strings(one) for one in scopes)
            )
            wanted = f"one list of scope names for each of the {len(self.loss)} losses"
        else:
            fits, wanted = _is_list_of_strings(scopes), "a list of scope names"
        if not fits:
            raise SpecError(f"ModelSpec.var_scopes is {scopes!r}; it has to be {wanted}.")

    def scopes_of(self, loss_index: int) -> list[str] | None:
        """The variable scopes that loss number `loss_index` updates; None means all."""
        if self.var_scopes is None:
            return None
        if isinstance(self.loss, (list, tuple)):
            return list(self.var_scopes[loss_index])
        return list(self.var_scopes)

    def loss_names(self) -> list[str]:
        """A name for each loss: its key in `log_info` where it stands there, else `loss`."""
        losses = self.losses
        names = []
        for index, loss in enumerate(losses):
            default = "loss" if len(losses) == 1 else f"loss[{index}]"
            shown = (key for key, value in (self.log_info or {}).items() if value is loss)
            names.append(next(shown, default))
        return names

    @staticmethod
    def require(spec: object, mode: str) -> ModelSpec:
        """Returns `spec` when it is a ModelSpec with all that `mode` needs.

        Raises:
            SpecError: names the missing field and the mode.
        """
        if not isinstance(spec, ModelSpec):
            raise SpecError(
                f"model_fn returned {returned_type(spec)} in mode {mode!s}; it has to return a "
                "mox.ModelSpec."
            )
        field = {"TRAIN": "loss", "EVAL": "log_info", "PREDICT": "output_info"}.get(
            str(mode), "export_spec"
        )
        value = spec.losses if field == "loss" else getattr(spec, field)
        if value is None or (field != "export_spec" and not value):
            raise SpecError(
                f"ModelSpec.{field} is missing; mode {mode!s} needs it.\n"
                f"  Return mox.ModelSpec({field}=...) from model_fn when its mode is {mode!s}."
            )
        return spec


def not_scalar_error(field: str, shape: object, mode: str) -> SpecError:
    """The error of all engines for a tensor in `field` that has to be a scalar."""
    return SpecError(
        f"ModelSpec.{field} has shape {shape} in mode {mode!s}; it has to be a scalar (shape ()).\n"
        "  Reduce it first, for example with a mean over the batch."
    )


def _check_names(field: str, value: object) -> None:
    # dict first: abstract classes are slow to ask.
    items = value.items() if isinstance(value, (dict, Mapping)) else [(None, None)]
    for key, tensor in items:
        if not isinstance(key, str):
            raise SpecError(f"{field} is {a_type(value)}; it has to be a dict of name -> tensor.")
        if tensor is None:
            raise SpecError(f"{field}[{key!r}] is None; it has to be a tensor.")


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
