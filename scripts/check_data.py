"""The doctor: what is wrong with a dataset on disk.

    python scripts/check_data.py data=mpii [data.root=FOLDER] [augment=lapx] [--quick] [--out FOLDER]

Prints the report, writes report.json and contact sheets, and ends with 0 if training can start, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "overrides", nargs="*", help="data=NAME and any other override of the configs"
    )
    parser.add_argument("--quick", action="store_true", help="do not decode pictures")
    parser.add_argument(
        "--out", type=Path, help="where report.json and the sheets go; default runs/check_data/NAME"
    )
    options = parser.parse_args()
    from rich.console import Console

    from featherpose.errors import PoseError

    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        return check(options, console)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def check(options: argparse.Namespace, console) -> int:
    from featherpose.data.doctor import checks
    from featherpose.data.doctor.sheets import write_sheets

    data, augment, runs = build(options.overrides)
    results = checks.examine(data, options.quick)
    checks.print_report(results, console)
    folder = options.out or runs / "check_data" / data.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(checks.as_dict(results), indent=1), encoding="utf-8"
    )
    sheets = write_sheets(data, results, augment, folder)
    console.print(
        f"\nwrote {', '.join(str(p) for p in [folder / 'report.json', *sheets])}", highlight=False
    )
    good = checks.healthy(results)
    console.print(
        "[green]Training can start.[/]"
        if good
        else "[red]Mend the errors above before training.[/]"
    )
    return 0 if good else 1


def build(overrides: list[str]):
    """The data module of the overrides, with its network's natural size, the augmentation and the runs' folder."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf.errors import OmegaConfBaseException

    from featherpose.errors import PoseError, UsageError

    root = os.environ.get("FEATHERPOSE_ROOT", str(ROOT))
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose(
                "train", overrides=[f"paths.root='{root}'", "paths.output=null", *overrides]
            )
        data = instantiate(cfg.data, stride=4, natural_height=256, seed=0)
        return data, instantiate(cfg.augment), Path(cfg.paths.runs)
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, PoseError):
            raise error.__cause__ from error
        raise UsageError(" ".join(str(error).split())) from error


if __name__ == "__main__":
    sys.exit(main())
