"""What each verb of `featherpose runs` does with its arguments; `runs.py` beside it reads them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from featherpose.runs import commands
from featherpose.runs.folder import Run


def terminal() -> Console:
    return Console(highlight=False)


def select(asked: argparse.Namespace, root: Path) -> list[Run]:
    """The runs that `places` name; what cannot be read is named and left out."""
    left_out: list[str] = []
    runs = commands.select(asked.places, root, left_out)
    for sentence in left_out:
        print(f"left out: {sentence}", file=sys.stderr)
    return runs


def list_runs(asked: argparse.Namespace, root: Path) -> None:
    from featherpose.runs.listing import Wish, print_list

    wish = Wish(tuple(asked.where), asked.sort)
    print_list(wish.of(select(asked, root)), terminal(), asked.how)


def show(asked: argparse.Namespace, root: Path) -> None:
    commands.show(commands.find_run(asked.run, root), terminal())


def diff(asked: argparse.Namespace, root: Path) -> None:
    commands.show_diff(select(asked, root), terminal(), asked.all)


def table(asked: argparse.Namespace, root: Path) -> None:
    commands.write_table(select(asked, root), asked.format, asked.out, asked.to)


def report(asked: argparse.Namespace, root: Path) -> None:
    from featherpose.runs.report import write_report

    print(write_report(select(asked, root), asked.out, asked.title))


def curves(asked: argparse.Namespace, root: Path) -> None:
    commands.write_curves(select(asked, root), asked.column, asked.out)


def samples(asked: argparse.Namespace, root: Path) -> None:
    run = commands.find_run(asked.run, root)
    commands.write_samples(run, asked.each, asked.bare, asked.out)


def receptive_field(asked: argparse.Namespace, root: Path) -> None:
    from featherpose.cli import receptive_field

    wish = receptive_field.Wish(asked.pictures, asked.gamma)
    receptive_field.write(asked.networks, root, wish, asked.out)


def command(asked: argparse.Namespace, root: Path) -> None:
    commands.print_command(commands.find_run(asked.run, root))


def pack(asked: argparse.Namespace, root: Path) -> None:
    commands.print_packed(commands.find_run(asked.run, root), asked.out)


def upload(asked: argparse.Namespace, root: Path) -> None:
    from featherpose.training.loggers.upload import upload

    for run in select(asked, root):
        mode = "offline" if asked.offline else None
        print(upload(run, root, asked.project, asked.entity, mode), flush=True)


def workspace(asked: argparse.Namespace, root: Path) -> None:
    from featherpose.runs import workspace
    from featherpose.training.loggers.weights_and_biases import logged_in

    given = asked.question, asked.name, asked.project, asked.entity
    page = workspace.layout(select(asked, root), *given)
    workspace.write(page, asked.out)
    print(f"{asked.out}: {len(page.panels)} panels in {len(page.sections)} sections")
    if not workspace.installed():
        why = workspace.MISSING
    elif not logged_in():
        why = "not logged in (wandb login)"
    else:
        print(f"W&B: {workspace.save(page)}")
        return
    print(f"W&B has no page yet, {why}.")
    print("Then the same command makes it; docs/wandb/report.md says how to lay it out by hand.")


def watch(asked: argparse.Namespace, root: Path) -> int:
    from featherpose.runs import watch

    commands.refuse_missing(asked.places)
    every = max(0.2, asked.every)
    return watch.watch(lambda: watch.sights(asked.places, root), terminal(), every, asked.once)


def status(asked: argparse.Namespace, root: Path) -> int:
    from featherpose.runs import sweep_folder

    return commands.status(asked.sweep or sweep_folder.newest_sweep(root), terminal())


DO = {
    "list": list_runs,
    "show": show,
    "diff": diff,
    "table": table,
    "report": report,
    "curves": curves,
    "samples": samples,
    "receptive-field": receptive_field,
    "command": command,
    "pack": pack,
    "upload": upload,
    "workspace": workspace,
    "watch": watch,
    "status": status,
}
