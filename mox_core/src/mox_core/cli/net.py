"""`mox net`: the networks of the zoo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mox_core.cli.output import table
from mox_core.wording import counted

if TYPE_CHECKING:
    from mox_core.nets import Network
    from mox_core.nn.counting import LayerCount

__all__ = ["main"]


def main(args: Sequence[str]) -> int:
    """Runs `mox net`.

    Args:
        args: What follows `net` on the command line.

    Returns:
        0.

    Raises:
        SpecError: There is no such network, or it cannot be built for these images.
    """
    parser = argparse.ArgumentParser(prog="mox net", description="The networks of the zoo.")
    commands = parser.add_subparsers(title="commands", metavar="{show,list}", required=True)
    show = commands.add_parser(
        "show",
        help="print the layers of a network",
        description="Prints the layers of a network: shapes, parameters, multiply-adds per image.",
    )
    show.add_argument("name", help="such as resnet_v1_50")
    show.add_argument("--image-size", type=int, help="height and width; default: the network's")
    show.add_argument("--num-classes", type=int, help="default: as in its public checkpoints")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=_show)
    names = commands.add_parser("list", help="list the networks")
    names.add_argument("--json", action="store_true", help="print JSON")
    names.set_defaults(run=_list)
    options = parser.parse_args(args)
    options.run(options)
    return 0


def _list(options: argparse.Namespace) -> None:
    from mox_core.nets import NETWORKS

    if options.json:
        print(json.dumps(list(NETWORKS), indent=2))
        return
    rows = [[name, str(net.default_image_size)] for name, net in NETWORKS.items()]
    print("\n".join(table(("network", "image size"), rows, right={"image size"})))


def _show(options: argparse.Namespace) -> None:
    from mox_core.nets import get_network

    network = get_network(options.name)
    size = options.image_size or network.default_image_size
    classes = options.num_classes or network.default_num_classes
    layers = _layers(options.name, network, size, classes)
    if options.json:
        report = {
            "name": options.name,
            "image_size": size,
            "num_classes": classes,
            "parameters": sum(layer.parameters for layer in layers),
            "multiply_adds": sum(layer.multiply_adds for layer in layers),
            "layers": [asdict(layer) for layer in layers],
        }
        print(json.dumps(report, indent=2))
        return
    rows = [
        [
            layer.name,
            layer.op,
            " x ".join(str(size) for size in layer.shape[1:]),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        ]
        for layer in layers
    ]
    header = ("layer", "operation", "output", "parameters", "multiply-adds")
    print("\n".join(table(header, rows, right={"parameters", "multiply-adds"})))
    print(
        f"\n{sum(layer.parameters for layer in layers):,} parameters, "
        f"{sum(layer.multiply_adds for layer in layers):,} multiply-adds "
        f"for an image of {size} x {size} pixels, {counted(classes, 'class', 'classes')}"
    )


def _layers(name: str, network: Network, size: int, classes: int) -> list[LayerCount]:
    from mox_core import nn
    from mox_core.nets import get_model_fn
    from mox_core.nn.counting import count_layers
    from mox_core.spec import ModeKeys, ModelSpec

    def model_fn(inputs: list[nn.Tensor], mode: str) -> ModelSpec:
        logits, _ = get_model_fn(name, mode, classes)(inputs[0])
        return ModelSpec(output_info={"logits": logits})

    images = nn.InputSpec((None, size, size, network.default_channels), "float32")
    trace = nn.trace(model_fn, {0: images}, ModeKeys.PREDICT)
    return count_layers(trace.graph.tensors)
