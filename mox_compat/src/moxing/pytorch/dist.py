"""Training in several processes."""

from __future__ import annotations

from mox_core._lazy import lazy_names

__all__ = ["AutoDataLoader", "AutoModule", "init_process_group", "rank", "world_size"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "mox_torch.dist"))
