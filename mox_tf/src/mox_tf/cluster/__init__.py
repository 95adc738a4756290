"""Parameter servers and workers: several processes that train one model."""
