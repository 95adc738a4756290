"""The networks: each written once, over `mox_core.nn`, with the names of TF-slim's checkpoints."""

from __future__ import annotations

from mox_core.nets.keys import NETWORK_NAMES, NetworkKeys
from mox_core.nets.network import EndPoints, Network
from mox_core.nets.zoo import (
    NETWORKS,
    ModelMeta,
    default_preprocess_fn,
    get_model_fn,
    get_model_meta,
    get_network,
)

__all__ = [
    "NETWORKS",
    "NETWORK_NAMES",
    "EndPoints",
    "ModelMeta",
    "Network",
    "NetworkKeys",
    "default_preprocess_fn",
    "get_model_fn",
    "get_model_meta",
    "get_network",
]
