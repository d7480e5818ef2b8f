"""The command line of one job of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from featherpose.overrides.quoting import quoted
from featherpose.runs.repeat import config_flags

# Settings of the sweep itself, which a single job must not see
_OF_THE_SWEEP = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra/sweeper",
    "hydra.sweeper",
    "hydra.sweep.",
    "hydra.mode",
)


def child_command(
    argv: Sequence[str],
    overrides: Iterable[str],
    hydra: Iterable[str],
    sweep: Path,
    folder: Path,
    number: int,
) -> list[str]:
    """`python script flags overrides`, as a single run whose folder lies in the sweep's."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    script = ["-m", spec.name] if spec is not None else [str(Path(argv[0]).absolute())]
    kept = [word for word in hydra if not word.lstrip("+~").startswith(_OF_THE_SWEEP)]
    own = {
        "hydra.mode": "RUN",
        "hydra.run.dir": quoted(str(folder)),
        "hydra.sweep.dir": quoted(str(sweep)),
        "hydra.sweep.subdir": quoted(str(folder.relative_to(sweep))),
        "hydra.job.num": str(number),
    }
    words = [*overrides, *kept, *(f"{key}={value}" for key, value in own.items())]
    return [sys.executable, *script, *config_flags(argv[1:]), *words]
