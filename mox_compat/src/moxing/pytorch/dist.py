"""Training in several processes."""

from __future__ import annotations

from moxing._forward import forward

__all__ = ["AutoDataLoader", "AutoModule", "init_process_group", "rank", "world_size"]
__getattr__, __dir__ = forward(__name__, "mox_torch.dist", __all__)
