"""Errors that people can mend: one clear sentence each, shown without a traceback."""


class PoseError(Exception):
    """Something in the data, the files or the configuration is wrong; the message says what and how to mend it."""

    exit_code = 1

    def __str__(self) -> str:
        """The sentence alone, also where torch wrapped it with a loader worker's traceback."""
        text = super().__str__()
        head, name, sentence = text.rpartition("featherpose.errors.PoseError: ")
        return (
            sentence.strip()
            if name and head.startswith("Caught PoseError in DataLoader worker")
            else text
        )


class UsageError(PoseError):
    """The command line itself is wrong."""

    exit_code = 2
