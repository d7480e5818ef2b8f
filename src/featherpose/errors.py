"""Errors that people can mend: one clear sentence each, shown without a traceback."""

from __future__ import annotations

import errno
import sys

from featherpose.place import CHECKOUT

# By its import, each package that the program needs: for predicting, and what the extras add to that
PREDICTING = ("numpy", "cv2", "onnxruntime", "simplejpeg", "hydra", "omegaconf", "yaml", "rich")
EXTRAS = {
    "train": (
        *("torch", "lightning", "torchmetrics", "pycocotools", "albumentations", "wandb", "scipy"),
        *("h5py", "pandas", "matplotlib", "jinja2", "psutil", "msgspec"),
    ),
    "onnx": ("onnx", "onnxscript", "onnx_ir"),
}


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


class BrokenOff(PoseError):
    """A search ends a run before its end, which is no failure: run.json has a state of its own."""

    def __init__(self, state: str, why: str) -> None:
        super().__init__(why)
        self.state = state


def known(error: BaseException) -> tuple[int, str] | None:
    """Exit code and sentence of an error that people can mend, whatever it is wrapped in; None for any other."""
    for cause in _chain(error, "__cause__", "__context__"):
        if isinstance(cause, PoseError):
            return cause.exit_code, str(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            where = cause.filename or "no room to write"
            return 1, f"The disk is full: {where}. Free some space, then run it again."
        if isinstance(cause, PermissionError):
            where = f"No permission to write or read {cause.filename}."
            return 1, f"{where} Choose another folder, e.g. {_place()}=DIR."
    # not what was caught and left behind on the way: that may be anything
    for cause in _chain(error, "__cause__"):
        if isinstance(cause, ModuleNotFoundError) and (sentence := missing(cause)):
            return 1, sentence
        if isinstance(cause, OSError) and cause.filename is not None and cause.strerror:
            where = f"{cause.filename} can't be used ({cause.strerror.lower()})."
            return 1, f"{where} Choose another file or folder, e.g. {_place()}=DIR."
        if isinstance(cause, MemoryError):
            return 1, f"Not enough memory{f': {cause}' if str(cause) else ''}."
    return None


def _place() -> str:
    """The setting that says where this command writes."""
    return "out" if any(word.startswith("out=") for word in sys.argv) else "paths.runs"


def missing(error: ModuleNotFoundError) -> str | None:
    """Which package is not there and how it comes; None for a module that none of ours brings."""
    package = str(error.name).partition(".")[0]
    extra = next((name for name, packages in EXTRAS.items() if package in packages), None)
    if extra is None and package not in PREDICTING:
        return None
    here = CHECKOUT / ".venv" / "bin" if CHECKOUT else None
    if here and (here / "python").is_file():
        how = f"`source {here / 'activate'}` first, or run {here / 'python'}"
    elif CHECKOUT:
        how = (
            "`make install` makes an environment with everything, then `source .venv/bin/activate`"
        )
    elif extra:
        return (
            f"This needs {package}, which predicting with an exported file does without: "
            f"pip install 'featherpose[{extra}]'."
        )
    else:
        how = "install featherpose with its dependencies into it"
    return f"This Python ({sys.executable}) has no package {package}: {how}."


def _chain(error: BaseException, *ways: str) -> list[BaseException]:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = next((each for way in ways if (each := getattr(cause, way)) is not None), None)
    return chain
