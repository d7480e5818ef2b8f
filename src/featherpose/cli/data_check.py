"""The doctor: what is wrong with a dataset on disk.

Prints the report, writes report.json and contact sheets, and ends with 0 if training can start, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from featherpose.place import CONF

MOST = 24  # people whose labels are shown, of each split


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featherpose data check", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", help="data=NAME and any other override, e.g. data.root=FOLDER"
    )
    parser.add_argument("--quick", action="store_true", help="do not decode pictures")
    parser.add_argument(
        "--network",
        help="a run or file trained on these joints: list the labels it disagrees with most",
    )
    parser.add_argument(
        "--out", type=Path, help="where report.json and the sheets go; default runs/check_data/NAME"
    )
    options = parser.parse_intermixed_args(words)

    from rich.console import Console

    return check(options, Console(width=None if sys.stdout.isatty() else 160))


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
    good = checks.healthy(results)
    if options.network and good:
        sheets += labels_in_doubt(options.network, data, results, folder, console)
    console.print(
        f"\nwrote {', '.join(str(p) for p in [folder / 'report.json', *sheets])}", highlight=False
    )
    console.print(
        "[green]Training can start.[/]"
        if good
        else "[red]Mend the errors above before training.[/]"
    )
    return 0 if good else 1


def labels_in_doubt(network: str, data, results, folder: Path, console) -> list[Path]:
    """The labels of each split that the network disagrees with most, said and drawn."""
    from featherpose.evaluation import labels_in_doubt as doubt

    sheets = []
    for result in results:
        persons, skeleton = result.people.persons, data.skeleton
        keypoints, confidence = doubt.predicted(network, data, result.people)
        found = doubt.most_in_doubt(keypoints, confidence, persons, skeleton, MOST)
        console.print(f"\n[bold]{result.split}[/]: labels that {network} disagrees with most")
        for each in found:
            console.print(f"  {doubt.in_words(each, persons, skeleton)}", markup=False)
        if found:
            sheets.append(folder / f"labels_{result.split}.png")
            doubt.write_sheet(sheets[-1], found, keypoints, persons, data.load, skeleton)
    return sheets


def build(overrides: list[str]):
    """The data module of the overrides, with its network's natural size, the augmentation and the runs' folder."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from featherpose.errors import PoseError, UsageError
    from featherpose.targets import build as build_target

    root = os.environ.get("FEATHERPOSE_ROOT", os.getcwd())
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(
                "train", overrides=[f"paths.root='{root}'", "paths.output=null", *overrides]
            )
        data = build_target(cfg.data, stride=4, natural_height=256, seed=0)
        return data, build_target(cfg.augment), Path(cfg.paths.runs)
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, PoseError):
            raise error.__cause__ from error
        raise UsageError(" ".join(str(error).split())) from error
