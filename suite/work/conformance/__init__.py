"""Whether a model or task keeps its contract: what ``suite.check`` asks, one finding a promise."""
