"""Errors that people can mend: one clear sentence each, shown without a traceback."""


class PoseError(Exception):
    """Something in the data, the files or the configuration is wrong; the message says what and how to mend it."""

    exit_code = 1


class UsageError(PoseError):
    """The command line itself is wrong."""

    exit_code = 2
