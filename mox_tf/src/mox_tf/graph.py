"""Builds the graph of a program out of the user's functions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from mox_core.engine import ProgramRequest
from mox_core.spec import Mode, ModeKeys
from mox_tf.cluster.exchange import GradientExchange
from mox_tf.copies import refresh_operation
from mox_tf.devices import INPUT_DEVICE, Placement
from mox_tf.first_call import FirstCall
from mox_tf.inputs import InputPipeline, build_input, placeholders
from mox_tf.neutral import NeutralScript
from mox_tf.tf1 import tf
from mox_tf.towers import Tower, build_tower
from mox_tf.training import build_update
from mox_tf.update_rules import UpdateRules

__all__ = ["InterModel", "ProgramGraph", "build_graph"]


@dataclass(frozen=True)
class InterModel:
    """The input and the model of the inter mode.

    Args:
        mode: what both functions were called with.
        input: its own, of one tower.
        tower: shares the variables of the main towers.
        reset: initializes its local variables, such as the counts of tf.metrics.
        find: finds the tensor of the graph for one that a hook monitors.
    """

    mode: Mode
    input: InputPipeline
    tower: Tower
    reset: Any
    find: Callable[[Any], Any]


@dataclass(frozen=True)
class ProgramGraph:
    """The graph of one program.

    Args:
        graph: holds all of it.
        mode: of the main towers.
        global_step: the variable.
        input: of the main towers.
        towers: the model, once per tower.
        update: does one training step; None outside of TRAIN.
        refresh: makes the towers' copies equal to the variables; None when there are none.
        model_variables: names of the variables that the model made; all others are state.
        summary: the first tower's summaries as one serialized protocol buffer, or None.
        summary_tags: their tags.
        inter: None without inter mode.
    """

    graph: Any
    mode: Mode
    global_step: Any
    input: InputPipeline
    towers: tuple[Tower, ...]
    update: Any
    refresh: Any
    model_variables: frozenset[str]
    summary: Any
    summary_tags: frozenset[str]
    inter: InterModel | None

    def close_inputs(self) -> None:
        """Lets go of data that Python code reads; called once no session reads any more."""
        for pipeline in (self.input, self.inter.input if self.inter else None):
            if pipeline is not None and pipeline.source is not None:
                pipeline.source.close()


def build_graph(
    request: ProgramRequest,
    placement: Placement,
    rules: UpdateRules,
    *,
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
    make_exchange: Callable[[], GradientExchange] | None = None,
) -> ProgramGraph:
    """Calls the user's functions in a new graph.

    Args:
        request: what to build.
        placement: how many towers, and where.
        rules: what shapes an update besides the optimizers.
        scope: in which all is built.
        make_exchange: makes, in the graph, what exchanges gradients with other processes.

    Raises:
        SpecError: what a function returned does not fit.
    """
    seed = tf.get_default_graph().seed  # a script sets it before it calls mox.run
    script = NeutralScript(request) if request.neutral else None
    if script is not None:
        request = script.native
    graph = tf.Graph()
    with graph.as_default(), scope():
        tf.set_random_seed(seed)
        with tf.device(INPUT_DEVICE):
            global_step = tf.train.get_or_create_global_step()
        first = FirstCall()
        pipeline, towers = _build_towers(request, placement, first)
        model_variables = frozenset(v.op.name for v in tf.global_variables()) - {
            global_step.op.name
        }
        update = None
        if request.mode == ModeKeys.TRAIN:
            update = build_update(
                towers,
                request.optimizer_fns,
                global_step,
                placement=placement,
                rules=rules,
                exchange=make_exchange() if make_exchange is not None else None,
            )
        # The optimizer may have defined summaries too: of its learning rate, for example.
        others = {id(s) for tower in towers[1:] for s in tower.summaries}
        summaries = [s for s in tf.get_collection(tf.GraphKeys.SUMMARIES) if id(s) not in others]
        return ProgramGraph(
            graph=graph,
            mode=request.mode,
            global_step=global_step,
            input=pipeline,
            towers=towers,
            update=update,
            refresh=refresh_operation([tower.copies for tower in towers]),
            model_variables=model_variables,
            summary=tf.summary.merge(summaries, collections=[]) if summaries else None,
            summary_tags=frozenset(filter(None, map(_summary_tag, summaries))),
            inter=_build_inter(request, placement, first, script),
        )


def _build_towers(
    request: ProgramRequest, placement: Placement, first: FirstCall
) -> tuple[InputPipeline, tuple[Tower, ...]]:
    if request.mode == ModeKeys.EXPORT:
        pipeline = InputPipeline([placeholders(request.input_spec)], reads=[])
        return pipeline, (build_tower(request.model_fn, pipeline.towers[0], request.mode),)
    pipeline = build_input(
        request.input_fn,
        request.mode,
        towers=len(placement.towers),
        batch_size=request.batch_size if request.auto_batch else None,
        threads=placement.prefetch_threads,
    )
    towers = []
    for index, (inputs, copies) in enumerate(zip(pipeline.towers, placement.copies(), strict=True)):
        with placement.tower_scope(index):
            towers.append(
                build_tower(
                    request.model_fn,
                    inputs,
                    request.mode,
                    name=f"tower_{index}" if index else "",
                    reuse=index > 0,
                    copies=copies,
                    first=first,
                )
            )
    return pipeline, tuple(towers)


def _build_inter(
    request: ProgramRequest,
    placement: Placement,
    first: FirstCall,
    script: NeutralScript | None,
) -> InterModel | None:
    mode = request.inter_mode
    if mode is None:
        return None
    pipeline = build_input(
        request.input_fn,
        mode,
        towers=1,
        batch_size=request.batch_size if request.auto_batch else None,
        threads=None,
    )
    before = {id(variable) for variable in tf.local_variables()}
    with placement.tower_scope(0):
        tower = build_tower(
            request.model_fn,
            pipeline.towers[0],
            mode,
            name=f"inter_{mode!s}".lower(),
            reuse=True,
            first=first,
        )
    own = [variable for variable in tf.local_variables() if id(variable) not in before]
    reset = tf.variables_initializer(own)
    return InterModel(mode, pipeline, tower, reset, script.find if script else _itself)


def _itself(value: Any) -> Any:
    return value


def _summary_tag(summary: Any) -> str | None:
    """The tag under which TensorBoard shows a summary, where the graph tells."""
    inputs = list(summary.op.inputs)
    tag = tf.get_static_value(inputs[0]) if inputs else None
    return tag.item().decode() if tag is not None and tag.dtype == object else None
