"""The two errors of a task. No torch here, so the data command can use them; ``tasks.contract`` has them too."""


class TaskError(ValueError):
    """A task was asked for something it cannot give: wanted and got are in the message (exit code 2)."""


class DataError(RuntimeError):
    """Raw data is missing, truncated or altered: the file and the remedy are in the message (exit code 4)."""


class DataNotWritten(DataError):
    """The data root cannot be written: read-only, or the disk is full (exit code 5)."""
