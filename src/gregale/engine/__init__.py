"""The engine: takes events at hand, has the core decide them, commits them as one batch, then publishes what follows."""

from gregale.engine.engine import Engine
from gregale.engine.settings import EngineSettings

__all__ = ["Engine", "EngineSettings"]
