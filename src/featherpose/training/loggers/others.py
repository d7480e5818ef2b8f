"""Dashboards beside W&B: TensorBoard, MLflow, Trackio, and a plain CSV of all rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from featherpose.runs import metrics_csv
from featherpose.runs.flat import flat
from featherpose.training.loggers.identity import Identity
from featherpose.training.loggers.metrics_file import PlainFile


def tensorboard_logger(identity: Identity, directory: str) -> TensorBoardLogger:
    """Event files of all runs below one folder: `tensorboard --logdir runs/tensorboard`."""
    name = identity.group or "single"
    place = f"{identity.folder.name}-{identity.name}"
    logger = TensorBoardRun(directory, name=name, version=place, default_hp_metric=False)
    logger.identity = identity
    return logger


class TensorBoardRun(TensorBoardLogger):
    identity: Identity

    @rank_zero_only
    def log_hyperparams(
        self, params: Any = None, metrics: Any = None, step: int | None = None
    ) -> None:
        """The resolved config once, as text: TensorBoard's own table of nested values cannot be read."""
        lines = [f"    {key}: {value}" for key, value in flat(self.identity.parameters).items()]
        self.experiment.add_text("config", "\n".join(lines))


def mlflow_logger(
    identity: Identity, tracking_uri: str, experiment: str = "featherpose"
) -> MLFlowLogger:
    """MLflow, by default in one local folder: `mlflow ui --backend-store-uri runs/mlruns`."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if "://" not in tracking_uri and not tracking_uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        tracking_uri = Path(tracking_uri).absolute().as_uri()
    tags = {
        "group": identity.group or "",
        "tags": ",".join(identity.tags),
        "folder": str(identity.folder),
    }
    logger = MLflowRun(experiment, run_name=identity.name, tracking_uri=tracking_uri, tags=tags)
    logger.identity = identity
    return logger


class MLflowRun(MLFlowLogger):
    identity: Identity

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        values = {
            key.replace("/", "."): value for key, value in flat(self.identity.parameters).items()
        }
        super().log_hyperparams(values)


class AllRows(PlainFile):
    """All rows in `RUN/steps/metrics.csv`; `RUN/metrics.csv` and `RUN/steps.csv` are there anyway.

    Lightning's own CSVLogger deletes the rows of a run that goes on.
    """

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self.rows = metrics_csv.Steps(identity.folder / self.name / "metrics.csv")

    @property
    def name(self) -> str:
        return "steps"

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows.add({"step": step or 0} | {name: float(each) for name, each in metrics.items()})


class TrackioRun(Logger):
    """Trackio: W&B's calls on a local SQLite file, shown by `trackio show`. Rows are numbered by epoch."""

    def __init__(
        self, identity: Identity, project: str = "featherpose", directory: str | None = None
    ) -> None:
        super().__init__()
        if directory:
            os.environ.setdefault(
                "TRACKIO_DIR", str(Path(directory).absolute())
            )  # read when trackio is imported
        import trackio  # noqa: F401  (so that a missing package is reported before the training starts)

        self.identity = identity
        self.project = project
        self._run: Any = None

    @property
    def name(self) -> str:
        return self.project

    @property
    def version(self) -> str:
        return self.identity.name

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        import trackio

        if self._run is None:
            config = {
                key.lstrip("_"): value for key, value in flat(self.identity.parameters).items()
            }
            name = f"{self.identity.name}-{self.identity.folder.name[-24:]}"
            self._run = trackio.init(
                project=self.project, name=name, group=self.identity.group, config=config
            )
        return self._run

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run starts with the resolved config."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log(
            dict(metrics), step=int(metrics["epoch"]) if "epoch" in metrics else step
        )

    @rank_zero_only
    def log_image(
        self, key: str, images: list[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        import trackio

        for number, image in enumerate(images):
            self.experiment.log(
                {f"{key}/{number}" if len(images) > 1 else key: trackio.Image(image)}, step=step
            )

    @rank_zero_only
    def close_run(self, exit_code: int) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None
