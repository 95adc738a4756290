"""Linear classifiers in plain Python, as an engine for mox."""

from mox_engine_demo.model import Momentum, accuracy, cross_entropy, linear

__all__ = ["Momentum", "accuracy", "cross_entropy", "linear"]
