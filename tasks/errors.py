"""The two errors of a task. No torch here, so the data command can use them; ``tasks.contract`` has them too."""


class TaskError(ValueError):
    """A task was asked for something it cannot give: wanted and got are in the message (exit code 2)."""


LONGEST = 4000  # characters of a message


class DataError(RuntimeError):
    """Raw data is missing, truncated or altered: the file and the remedy are in the message (exit code 4).

    What a library says of a foreign file may quote it: the message is brought to one line of printable text.
    """

    def __init__(self, message: object) -> None:
        line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(str(message).split()))
        super().__init__(line if len(line) <= LONGEST else line[:LONGEST] + "...")


class DataNotWritten(DataError):
    """The data root cannot be written: read-only, or the disk is full (exit code 5)."""
