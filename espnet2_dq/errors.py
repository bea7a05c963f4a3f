"""Exceptions a user may see; each message names the place, the value and the remedy."""


class DQError(Exception):
    """Base of every error that this package raises on purpose."""


class DataError(DQError):
    """A corpus, data directory or audio file is not usable as it stands."""


class ConfigError(DQError):
    """A configuration key or value is not allowed."""


class CheckpointError(DQError):
    """A checkpoint is missing, broken or does not fit the model."""


class CollapseError(DQError):
    """Training has collapsed or exploded; the message names the block."""
