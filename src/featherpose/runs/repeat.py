"""A run again: the line that repeats it, and one small archive of it for a colleague."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.place import command
from featherpose.runs.folder import Run
from featherpose.runs.recording import CHANGES

# What says where a run went on or lay, not what it was
_NOT_AGAIN = (
    "resume=",
    "ckpt_path=",
    "sweep.resume=",
    "sweep.force=",
    "hydra.run.dir=",
    "hydra.sweep.dir=",
)
# The rest of a folder weighs little and tells all
_HEAVY = {"checkpoints", "heartbeat", "wandb", "tensorboard", "mlruns", "trackio"}


def repeating(run: Run) -> str:
    """The one line that trains the run again, with its seed."""
    words = [word for word in run.overrides if not word.lstrip("+~").startswith(_NOT_AGAIN)]
    seed = run.record.seed
    if seed is not None and not any(word.startswith("seed=") for word in words):
        words.append(f"seed={seed}")
    own = config_flags(shlex.split(run.record.command or ""))
    return " ".join([command("train"), *map(shlex.quote, [*own, *words])])


def config_flags(words: Sequence[str]) -> list[str]:
    """--config-dir, --config-name and --config-path as they were given."""
    kept: list[str] = []
    names = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")
    for i, word in enumerate(words):
        if word.startswith("--config-") and "=" in word:
            kept.append(word)
        elif word in names and i + 1 < len(words):
            kept += [word, words[i + 1]]
    return kept


def warnings_of(run: Run) -> list[str]:
    """What the line alone does not bring back."""
    record, found = run.record, []
    if not (run.folder / ".hydra" / "overrides.yaml").is_file():
        found.append(
            "its .hydra/overrides.yaml is gone: the line has the seed only, compare config.yaml"
        )
    if record.git.commit is None:
        found.append(
            "it was made by an installed package, version "
            + record.versions.get("featherpose", "?")
        )
    if record.git.dirty:
        kept = run.folder / CHANGES
        where = f"git apply {kept}" if kept.is_file() else "the changes were not kept"
        found.append(f"the working tree had changes beyond the commit: {where}")
    if own := record.extra.get("own_configs"):
        found.append(f"it took configs of the folder it was started in: {own}")
    return found


def pack(run: Run, out: Path | None = None) -> Path:
    """A zip of the folder without checkpoints and dashboards' files; gives its path."""
    place = out or Path(f"{run.folder.resolve().name}.zip")
    if place.suffix != ".zip":
        raise PoseError(f"{place} should end in .zip.")
    top = run.folder.resolve().name
    inside = [
        path.relative_to(run.folder) for path in sorted(run.folder.rglob("*")) if path.is_file()
    ]
    with replacing(place) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in inside:
            if not _HEAVY & set(path.parts) and path.suffix != ".zip":
                archive.write(run.folder / path, f"{top}/{path}")
    return place
