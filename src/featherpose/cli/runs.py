"""Look at runs: list, show, diff, table, report, curves, samples, receptive-field, status, watch; pass on: command,
pack, upload, workspace."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
SORTS = ("started", "score", "name", "epochs", "time")  # of list


def add_list(verbs: Verbs) -> None:
    verb = verbs.add_parser("list", help="every run: state, score, size, protocol")
    verb.add_argument("places", nargs="*", help="folders; all runs if none")
    verb.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE",
        help="only those with it: state=finished, name=lapx, or a key of the config; may be repeated",
    )  # fmt: skip
    verb.add_argument("--sort", choices=SORTS, default="started", help="%(choices)s (%(default)s)")
    verb.add_argument("--by-score", dest="sort", action="store_const", const="score")
    kind = verb.add_mutually_exclusive_group()
    kind.add_argument("--csv", dest="how", action="store_const", const="csv", default="table")
    kind.add_argument("--json", dest="how", action="store_const", const="json")


def add_show(verbs: Verbs) -> None:
    verb = verbs.add_parser("show", help="one run beside the mean pose and the papers' rows")
    verb.add_argument("run", nargs="?", default="last", help="a folder, part of a name, or last")


def add_diff(verbs: Verbs) -> None:
    verb = verbs.add_parser("diff", help="in what runs differ: config, commit, versions, scores")
    verb.add_argument("places", nargs="+", metavar="run")
    verb.add_argument("--all", action="store_true", help="paths, dashboards and callbacks too")


def add_table(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "table", help="the papers' layout: joints, size, mean over seeds, difference"
    )
    verb.add_argument("places", nargs="*")
    verb.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")
    verb.add_argument(
        "--to", type=float, action="append", default=[], metavar="SCORE",
        help="a column of the steps that training took to this score; may be repeated",
    )  # fmt: skip
    verb.add_argument("--out", type=Path, default=None)


def add_report(verbs: Verbs) -> None:
    verb = verbs.add_parser("report", help="one HTML page that opens without a server")
    verb.add_argument("places", nargs="*")
    verb.add_argument("--out", type=Path, default=Path("report.html"))
    verb.add_argument("--title", default="Runs")


def add_curves(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "curves", help="a picture of a score, loss or gamma over the epochs, a line per run"
    )
    verb.add_argument("places", nargs="*")
    verb.add_argument("--column", default="val/score", help="of metrics.csv (%(default)s)")
    verb.add_argument("--out", type=Path, default=Path("curves.png"))


def add_samples(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "samples", help="a picture of good, middling and bad predictions beside the annotation"
    )
    verb.add_argument("run", nargs="?", default="last", help="a folder, part of a name, or last")
    verb.add_argument("--each", type=int, default=4, help="how many of each kind (%(default)s)")
    verb.add_argument("--bare", action="store_true", help="on white, without the pictures")
    verb.add_argument("--out", type=Path, default=Path("samples.png"))


def add_receptive_field(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "receptive-field", help="a picture of which pixels move the heatmaps' centre, side by side"
    )
    verb.add_argument(
        "networks", nargs="+", metavar="RUN|NAME",
        help="a run, or an untrained network of conf/model or conf/experiment: 'lapx model.stages=2'",
    )  # fmt: skip
    verb.add_argument("--pictures", type=int, default=8, help="to ask with (%(default)s)")
    verb.add_argument("--gamma", type=float, help="of untrained Non-Local modules (default: 0)")
    verb.add_argument("--out", type=Path, default=Path("receptive_field.png"))


def add_command(verbs: Verbs) -> None:
    verb = verbs.add_parser("command", help="the line that repeats a run, and what it needs beside")
    verb.add_argument("run", nargs="?", default="last", help="a folder, part of a name, or last")


def add_pack(verbs: Verbs) -> None:
    verb = verbs.add_parser("pack", help="a small archive of a run, without its checkpoints")
    verb.add_argument("run", nargs="?", default="last", help="a folder, part of a name, or last")
    verb.add_argument("--out", type=Path, default=None, help="a .zip (default: the folder's name)")


def add_upload(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "upload", help="whole runs into W&B, also killed, resumed and offline ones; nothing twice"
    )
    verb.add_argument("places", nargs="+", metavar="run")
    verb.add_argument("--project", help="of W&B (default: what the run's config names)")
    verb.add_argument("--entity", help="the team (default: the same)")
    verb.add_argument("--offline", action="store_true", help="one folder for wandb sync")


def add_workspace(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "workspace", help="a page of W&B that is laid out for some runs: curves, joints, pictures"
    )
    verb.add_argument("places", nargs="*", metavar="run", help="runs or sweeps (default: all)")
    verb.add_argument("--question", help="what the page is to answer (default: from the settings)")
    verb.add_argument("--name", help="of the page (default: the sweep's)")
    verb.add_argument("--project", help="of W&B (default: what the runs' config names)")
    verb.add_argument("--entity", help="the team (default: the same, else your own)")
    verb.add_argument(
        "--out", type=Path, default=Path("workspace.json"), help="the description (%(default)s)"
    )


def add_watch(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "watch", help="what runs now: epoch, score, rate, time left; Ctrl-C ends"
    )
    verb.add_argument("places", nargs="*", type=Path, help="runs or sweeps (default: all that run)")
    verb.add_argument("--every", type=float, default=5.0, help="seconds (%(default)g)")
    verb.add_argument("--once", action="store_true", help="one look")


def add_status(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "status", help="a sweep: done, failed, missing; exit code 1 until all are done"
    )
    verb.add_argument(
        "sweep", nargs="?", type=Path, default=None, help="the sweep's folder (default: the newest)"
    )


VERBS = (
    add_list,
    add_show,
    add_diff,
    add_table,
    add_report,
    add_curves,
    add_samples,
    add_receptive_field,
    add_command,
    add_pack,
    add_upload,
    add_workspace,
    add_watch,
    add_status,
)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="featherpose runs", description=__doc__)
    parser.add_argument(
        "--runs",
        type=Path,
        default=None,
        help="where runs lie (default: runs/, or $FEATHERPOSE_RUNS)",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for add in VERBS:
        add(verbs)
    return parser.parse_args(arguments)


def main(words: list[str]) -> int:
    asked = parse(words)
    from featherpose.cli import run_verbs  # after the parser: a help text needs no pandas

    root = asked.runs or Path(os.environ.get("FEATHERPOSE_RUNS", "runs"))
    return run_verbs.DO[asked.verb](asked, root) or 0
