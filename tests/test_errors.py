"""One sentence for what people can mend, whatever libraries have wrapped it in."""

from __future__ import annotations

import errno

import pytest

from featherpose.errors import PoseError, UsageError, known


def wrapped(cause: BaseException, explicit: bool = True) -> BaseException:
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__cause__, error.__context__ = (cause, None) if explicit else (None, cause)
    return error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (PoseError("No such picture."), 1, "No such picture."),
        (UsageError("No such word."), 2, "No such word."),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "The disk is full: runs/x"),
        (PermissionError(errno.EACCES, "denied", "/root/x"), 1, "No permission to write or read"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), 1, "a/b can't be used (not"),
        (MemoryError("Unable to allocate 12 GiB"), 1, "Not enough memory: Unable to"),
    ],
)
def test_the_sentence_comes_through_what_wraps_it(
    error: BaseException, code: int, sentence: str
) -> None:
    for given in (error, wrapped(error)):
        found = known(given)
        assert found is not None
        assert found[0] == code
        assert found[1].startswith(sentence)


def test_a_full_disk_is_known_behind_what_torch_says_of_it() -> None:
    """torch's writer fails anew when it closes the file, while the disk's error is being handled."""
    found = known(wrapped(OSError(errno.ENOSPC, "No space left on device"), explicit=False))
    assert found is not None
    assert found[1].startswith("The disk is full")


def test_what_was_caught_on_the_way_is_not_blamed() -> None:
    assert known(wrapped(FileNotFoundError(2, "No such file", "optional.txt"), False)) is None
    assert known(TypeError("a bug")) is None


def test_an_error_that_names_no_file_is_no_sentence_about_one() -> None:
    assert known(OSError(errno.EIO, "Input/output error")) is None
    assert known(OSError("broken", "pipe", "a/b")) is not None
    assert known(OSError("something else")) is None
