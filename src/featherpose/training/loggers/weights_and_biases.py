"""W&B: online where the user is logged in, offline otherwise; never a question, never a crash."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from featherpose.console import console
from featherpose.place import command
from featherpose.runs.flat import flat
from featherpose.runs.record import RunRecord
from featherpose.training.loggers.identity import Identity, on_first_rank

STEP = "trainer/global_step"  # Lightning's name


class WandbRun(WandbLogger):
    """One W&B run of one job, with epochs as the x axis and the whole config from the start."""

    def __init__(
        self, run: Any, identity: Identity | None, directory: str, best_checkpoint: bool = False
    ) -> None:
        project = run.project if run is not None else "featherpose"
        super().__init__(experiment=run, save_dir=directory, project=project)
        self.identity = identity
        self.best_checkpoint = best_checkpoint
        self.defined: set[str] = set()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Each value is defined by its own name: of two patterns that fit, W&B takes either."""
        for name in metrics.keys() - self.defined:
            define(self.experiment, name)
        self.defined |= metrics.keys()
        super().log_metrics(metrics, step)

    def log_hyperparams(self, params: Any) -> None:
        """Nothing: the run was started with the resolved config."""

    def facts(self) -> dict[str, Any]:
        run, mode = self.experiment, mode_of(self.experiment)
        place = str(Path(run.dir).parent)
        return {
            "wandb": {
                "id": run.id,
                "dir": place,
                "mode": mode,
                "url": run.url if mode == "online" else None,
            }
        }

    def close_run(self, exit_code: int) -> None:
        """Final scores into the summary, the best checkpoint as an artifact if asked for, and the exit code."""
        run, identity = self.experiment, self.identity
        record = (RunRecord.read(identity.folder) if identity else None) or RunRecord()
        try:
            summarise(run, record)
            path = Path(record.best.path if record.best else "")
            if exit_code == 0 and self.best_checkpoint and path.is_file():
                upload_checkpoint(run, path, record)
        finally:
            offline = mode_of(run) == "offline"
            run.finish(exit_code=exit_code)
        if offline and identity:
            console.print(f"W&B: to upload this run: {command(f'runs upload {identity.folder}')}")


def wandb_logger(
    identity: Identity,
    project: str = "featherpose",
    entity: str | None = None,
    directory: str = ".",
    mode: str | None = None,
    init_timeout: float = 30.0,
    finish_timeout: float = 120.0,
    best_checkpoint: bool = False,
    notes: str | None = None,
) -> WandbRun:
    """Starts the W&B run of this job.

    Args:
        identity: the run, as `build_loggers` knows it.
        project: the W&B project.
        entity: the team; None takes the user's default.
        directory: the folder that holds `wandb/` with all runs, so that `wandb sync` sees them together.
        mode: online, offline or disabled; None is online where a key is found, offline otherwise.
        init_timeout: seconds to wait for the server before the run goes on offline.
        finish_timeout: seconds to wait at the end for what is still to be sent; the rest stays in the run's folder.
        best_checkpoint: keep the best checkpoint as an artifact of the run.
        notes: a sentence on why the run was made.
    """
    if not on_first_rank():
        return WandbRun(None, identity, directory)
    Path(directory).mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "name": identity.name,
        "group": identity.group,
        "job_type": "train",
        "tags": list(identity.tags),
        "config": identity.parameters,
        "dir": directory,
        "notes": notes,
        # a resumed run goes on in its own W&B run
        "id": identity.record.dashboard("wandb").get("id"),
    }
    run = start(arguments, mode or os.environ.get("WANDB_MODE"), init_timeout, finish_timeout)
    return WandbRun(run, identity, directory, best_checkpoint)


def define(run: Any, name: str) -> None:
    """Tells W&B what a value is drawn against, and that runs rank by its best, not by its last."""
    if name in ("epoch", STEP):
        run.define_metric(name, hidden=True)
        return
    best = None
    if {"loss", "EPE"} & set(
        name.split("/")
    ):  # the mean error in pixels; of all others more is better
        best = "min"
    elif name.startswith("val/"):
        best = "max"
    against = STEP if name.startswith("train/step/") else "epoch"
    run.define_metric(name, step_metric=against, summary=best)


def summarise(run: Any, record: RunRecord) -> None:
    """What the best checkpoint scored, and by which protocol: a score alone says too little."""
    best = asdict(record.best) if record.best else {}
    for name, value in flat({"final": record.scores, "best": best}).items():
        if value != {}:
            run.summary[name.replace("final.", "final/")] = value
    run.summary["protocol"] = record.protocol.get("name")


def start(
    arguments: dict[str, Any], mode: str | None, init_timeout: float, finish_timeout: float = 120.0
) -> Any:
    """`wandb.init`, online if that works, offline with one line on the reason if it does not."""
    import wandb

    # What tables and artifacts hold waits for wandb sync beside the runs; W&B would put it into the home folder
    os.environ.setdefault("WANDB_DATA_DIR", str(Path(arguments["dir"], "wandb").absolute()))
    reason = ""
    if mode in (None, "online", "shared"):
        reason = "not logged in (wandb login)" if not logged_in() else ""
        if not reason:
            settings = wandb.Settings(
                init_timeout=init_timeout,
                finish_timeout=finish_timeout,  # W&B's own is to wait for ever
                login_timeout=5,
                silent=True,
            )
            resume = {"resume": "allow"} if arguments["id"] else {}
            try:
                run = wandb.init(
                    **arguments,
                    **resume,
                    mode="online",
                    reinit="finish_previous",
                    settings=settings,
                )
                console.print(f"W&B: {run.url}")
                return run
            except (
                Exception
            ) as error:  # a bad key, no network, no permission: the training matters more
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        mode = "offline"
    settings = wandb.Settings(silent=True)
    run = wandb.init(**arguments, mode=mode, reinit="finish_previous", settings=settings)  # ty: ignore[invalid-argument-type]
    if mode == "offline":
        why = f", {reason}" if reason else ""
        console.print(f"W&B: offline{why}")
    return run


def logged_in() -> bool:
    """Whether a key lies where W&B looks for one; W&B itself would ask at the terminal, which a job must not."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(_base_url()).hostname or ""
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(str(path)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _base_url() -> str:
    """The server, from the environment or from W&B's own settings files."""
    import wandb

    return os.environ.get("WANDB_BASE_URL") or str(wandb.setup().settings.base_url)


def mode_of(run: Any) -> str:
    if getattr(run, "disabled", False):
        return "disabled"
    return "offline" if run.offline else "online"


def upload_checkpoint(run: Any, path: Path, record: RunRecord) -> None:
    import wandb

    score = record.best.score if record.best else None
    about = {"score": score, "protocol": record.protocol}
    artifact = wandb.Artifact(f"{run.name}-best".replace("/", "-"), type="model", metadata=about)
    artifact.add_file(str(path))
    run.log_artifact(artifact, aliases=["best"])
