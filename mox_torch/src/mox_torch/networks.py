"""The networks of the zoo in native scripts, on PyTorch's own tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import mox_core
from mox_core.errors import SpecError
from mox_core.nn.graph import Collections
from mox_core.nn.lowering import batch_norm_updates
from mox_core.nn.tensor import Tensor
from mox_core.nn.tracing import trace_function
from mox_core.patterns import in_scopes
from mox_core.spec import ModeKeys
from mox_torch.neutral import input_spec
from mox_torch.neutral_variables import NeutralVariables
from mox_torch.nn_code import compile_graph
from mox_torch.store import VariableStore, active_store, open_scope

__all__ = ["get_collection", "get_model_fn"]

Network = Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]


def get_model_fn(
    name: str,
    run_mode: str,
    num_classes: int,
    weight_decay: float = 0.0,
    data_format: str = "NHWC",
    batch_norm_fused: bool = False,
    batch_renorm: bool = False,
    image_height: int | None = None,
    image_width: int | None = None,
    preprocess_fn: Callable[[Any], Any] | str | None = "default",
) -> Network:
    """Returns a network of the zoo as a function of images (manual 004, section 2).

        logits, end_points = mox.get_model_fn("resnet_v1_50", mode, num_classes=1000)(images)

    Call both in model_fn. The first call makes the network's variables, with TF-slim's names below
    the scopes that are open; later ones find them again, as does a second network of the same name
    in the same scope.

    Args:
        name: one of `NetworkKeys`.
        run_mode: TRAIN drops out and normalizes with the batch.
        num_classes: size of the last layer.
        weight_decay: factor of the L2 losses, which `mox.get_collection("regularization_losses")`
            returns.
        data_format: accepted; images are NHWC in either case.
        batch_norm_fused: accepted; results are the same.
        batch_renorm: not available yet.
        image_height: images are resized to it; None: as they are.
        image_width: images are resized to it; None: as they are.
        preprocess_fn: images -> images, before the network; default: float32 and the size above;
            None: nothing.

    Returns:
        A function of images [batch, height, width, channels], uint8 or float; for images in NCHW
        order hand in `images.permute(0, 2, 3, 1)`, which copies nothing.

    Raises:
        SpecError: the network is not known or not built yet, or an argument does not fit.
    """
    neutral = mox_core.get_model_fn(
        name,
        run_mode,
        num_classes,
        weight_decay,
        data_format,
        batch_norm_fused,
        batch_renorm,
        image_height,
        image_width,
        None if callable(preprocess_fn) else preprocess_fn,
    )
    settings = (name, run_mode, num_classes, weight_decay, image_height, image_width)

    def network_fn(images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if callable(preprocess_fn):
            images = preprocess_fn(images)
        _check(images, name)
        store, scope = active_store("get_model_fn", name), open_scope()
        key = (scope, settings, preprocess_fn is None, images.dtype, images.shape[1:])
        found = store.lowered.get(key)
        if found is None:
            variables = store.lowered.setdefault((scope, name), NeutralVariables(store))
            found = store.lowered[key] = _Lowered(neutral, images, run_mode, variables, store)
        return found(images)

    return network_fn


def get_collection(key: str, scope: str | None = None) -> list[torch.Tensor]:
    """Returns what the networks of this call of model_fn have collected.

    Args:
        key: `"regularization_losses"`.
        scope: only what was collected in this scope.

    Raises:
        SpecError: called outside of model_fn.
    """
    collected = active_store("get_collection", key).collections.get(key, {})
    scopes = None if scope is None else [scope]
    return [tensor for name, tensor in collected.items() if in_scopes(name, scopes)]


class _Lowered:
    """A network for images of one size and one run mode, as generated code."""

    def __init__(
        self,
        network_fn: Callable[..., Any],
        images: torch.Tensor,
        run_mode: str,
        variables: NeutralVariables,
        store: VariableStore,
    ) -> None:
        exported = run_mode == ModeKeys.EXPORT
        mode = ModeKeys.EXPORT if exported else ModeKeys.parse(run_mode)
        traced = trace_function(
            network_fn,
            [input_spec(images)],
            mode,
            store=variables.declared,
            scope=open_scope().rstrip("/"),
        )
        logits, end_points = traced.returned
        losses: list[Tensor] = traced.graph.collection(Collections.REGULARIZATION_LOSSES)
        self._names = list(end_points)
        self._losses = [loss.name for loss in losses]
        self._variables = variables
        self._exported = exported
        self._collections = store.collections
        moved = batch_norm_updates(traced.graph)
        targets = [logits, *end_points.values(), *losses, *moved]
        variables.adopt(traced.graph, targets)
        self._compute = store.compiled(
            compile_graph(targets, list(traced.inputs), variables.layouts, store.device)
        )

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        native = self._variables.native(traced=self._exported)
        logits, *others = self._compute(native, True, images)
        end_points = dict(zip(self._names, others, strict=False))
        losses = others[len(self._names) : len(self._names) + len(self._losses)]
        if losses:  # by name, so that those of variables that two calls share count once
            collected = self._collections.setdefault(Collections.REGULARIZATION_LOSSES, {})
            collected.update(zip(self._losses, losses, strict=True))
        return logits, end_points


def _check(images: object, name: str) -> None:
    if not isinstance(images, torch.Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}"
        raise SpecError(f"network {name!r} got images of type {kind}; it takes a torch.Tensor.")
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise SpecError(
            f"network {name!r}: expected images [batch, height, width, channels], got {shape}."
        )
    if shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise SpecError(
            f"network {name!r} got images of shape {shape}, which looks like NCHW.\n"
            "  Hand in images.permute(0, 2, 3, 1), which copies nothing."
        )
