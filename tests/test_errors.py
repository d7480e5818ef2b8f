"""One sentence for what people can mend, whatever libraries have wrapped it in."""

from __future__ import annotations

import ast
import errno
import re
import sys
from pathlib import Path

import pytest

from featherpose import errors
from featherpose.errors import EXTRAS, PREDICTING, PoseError, UsageError, known


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


def gone(name: str) -> BaseException:
    return wrapped(ModuleNotFoundError(f"No module named {name!r}", name=name))


def test_a_missing_package_comes_with_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "CHECKOUT", None)
    for name, how in (
        ("torch.nn", "This needs torch, which .* pip install 'featherpose[train]'."),
        ("onnx_ir", "This needs onnx_ir, which .* pip install 'featherpose[onnx]'."),
        ("cv2", "has no package cv2: install featherpose with its dependencies"),
    ):
        found = known(gone(name))
        assert found is not None
        assert re.search(how.replace("[", r"\["), found[1])
    assert known(gone("my_network")) is None


def test_in_a_checkout_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(errors, "CHECKOUT", tmp_path)
    assert "make install" in str(known(gone("torch")))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert "source" in str(known(gone("torch")))


def test_the_extras_are_those_of_the_project(root: Path) -> None:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")

    def named(key: str) -> set[str]:
        block = re.search(rf"^{key} = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
        assert block is not None
        return {name.replace("-", "_") for name in re.findall(r'"([a-z][\w-]*)', block[1])}

    for extra, packages in EXTRAS.items():
        assert named(extra) == set(packages)
    imported = {"opencv_python_headless": "cv2", "hydra_core": "hydra"}
    base = {imported.get(name, name) for name in named("dependencies")}
    assert base == set(PREDICTING) - {"yaml"}  # which omegaconf brings


def test_the_page_of_errors_quotes_what_is_really_said(root: Path) -> None:
    said = "\n".join(
        node.value
        for path in (root / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    page = (root / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r'^\| "(.*?)" \|', page, re.MULTILINE)
    assert len(quoted) > 10
    for fragment in (part for each in quoted for part in each.split('", "')):
        assert fragment in said


def test_the_place_to_change_is_the_one_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = FileExistsError(errno.EEXIST, "File exists", "notes.txt")
    for words, place in (([], "paths.runs=DIR"), (["out=notes.txt"], "out=DIR")):
        monkeypatch.setattr(sys, "argv", ["predict.py", *words])
        found = known(taken)
        assert found is not None
        assert found[1].endswith(f"e.g. {place}.")
