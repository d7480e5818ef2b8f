"""`resume=RUN_DIR`: the run's own command line again, in its own folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Container
from pathlib import Path

from featherpose.errors import PoseError, UsageError
from featherpose.overrides.experiments import renamed
from featherpose.overrides.quoting import quoted

# Values that run a command, or choose the place of what a run writes
_ACTS = re.compile(
    r"(.+\.)?command|callbacks\..+\.(path|folder|dirpath|filename)|paths\.output|trainer\.default_root_dir"
)
RESUMED = ".resumed"  # what Hydra writes of a run that goes on, until it has been found to fit


def expand(arguments: list[str]) -> list[str]:
    """Puts the overrides that the run was started with before those given now, which may change them.

    `ckpt_path=` of a file in a run folder means that run; of a file elsewhere a new run that starts from it.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if "hydra.run.dir" in given:  # expanded already: a rank that Lightning starts
        return arguments
    folder = run_folder(given)
    if folder is None:
        return arguments
    if any(a in ("-m", "--multirun") for a in arguments):
        raise UsageError(
            "resume= goes on with one run; for a sweep say the same -m command with sweep.resume=true."
        )
    now = [a for a in arguments if not a.startswith(("resume=", "ckpt_path="))]
    said = {"resume", "ckpt_path", *(key_of(a) for a in now)}
    kept = first_overrides(folder, said)
    checkpoint = given.get("ckpt_path", "").strip("'\"")
    words = [*kept, *now, f"resume={quoted(str(folder))}", f"hydra.run.dir={quoted(str(folder))}"]
    words.append(f"hydra.output_subdir={RESUMED}")
    return (
        [*words, f"ckpt_path={quoted(str(Path(checkpoint).absolute()))}"]
        if checkpoint not in ("", "null")
        else words
    )


def accept(folder: Path) -> None:
    """The overrides given now belong to the run from here on; before this, a mistake has changed nothing."""
    new = folder / RESUMED
    if new.is_dir():
        shutil.copytree(new, folder / ".hydra", dirs_exist_ok=True)
        shutil.rmtree(new)


def forget(folder: Path) -> None:
    """What was not accepted leaves no trace."""
    shutil.rmtree(folder / RESUMED, ignore_errors=True)


def run_folder(given: dict[str, str]) -> Path | None:
    """The run folder that the arguments name, if they name one."""
    resume, checkpoint = (given.get(key, "").strip("'\"") for key in ("resume", "ckpt_path"))
    if resume not in ("", "null"):
        folder = Path(resume).absolute()
        if not (folder / ".hydra" / "overrides.yaml").is_file():
            raise PoseError(
                f"resume={resume}: that is no run folder (there is no .hydra/overrides.yaml in it)."
            )
        return folder
    folder = Path(checkpoint).absolute().parent.parent
    return (
        folder
        if checkpoint not in ("", "null") and (folder / ".hydra" / "overrides.yaml").is_file()
        else None
    )


def first_overrides(folder: Path, said: Container[str] = ()) -> list[str]:
    """The words that the run was started with, as far as a file may say them, without those `said` now."""
    import yaml

    path = folder / ".hydra" / "overrides.yaml"
    try:
        words = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        words = None
    if not isinstance(words, list):
        raise PoseError(f"{path} is damaged: it has to be a list of overrides.")
    kept = [word for word in words if not isinstance(word, str) or key_of(word) not in said]
    for word in kept:
        check_word(word, path)
    return renamed(kept)


def check_word(word: object, path: Path) -> None:
    """A run folder may set values and choose from groups; what is run, what is written where, and Hydra, it may not."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from featherpose import targets
    from featherpose.cli import groups
    from featherpose.runs.flat import flat

    try:
        if not isinstance(word, str) or word.startswith("-"):
            raise PoseError("an option")
        override = OverridesParser.create().parse_override(word)
        key = override.key_or_group
        if key.split(".")[0].split("/")[0].split("@")[0] == "hydra":
            raise PoseError("a setting of Hydra itself")
        value = override.value()
        held = targets.TARGET if key.split(".")[-1] == targets.TARGET else ""
        targets.check(targets.renamed({held: value}), str(path))
        if any(_ACTS.fullmatch(name) for name in flat({key: value})):
            raise PoseError("it says what is run, or where files are written")
        if groups.is_group(key) and re.search(r"\$|(?<![\w.-])\.\.(?![\w.-])", str(value)):
            raise PoseError("a config outside conf/")
    except (PoseError, HydraException) as error:
        raise PoseError(
            f"{path} holds {str(word)[:80]!r}, which is not taken from a file ({str(error)[:120]}): "
            "say it again at the prompt if it is your own; otherwise remove it there."
        ) from error


def key_of(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+~")
