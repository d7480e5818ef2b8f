"""`hydra/launcher=processes`, for Hydra to find; it reads this file at every start, so the work is imported later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ProcessLauncher(Launcher):
    """`featherpose.sweeps.launcher.Processes` as Hydra calls it; `conf/hydra/launcher/processes.yaml` has its keys."""

    def __init__(self, **slots: Any) -> None:
        self.slots = slots
        self.feed: Any = None  # of more jobs than `launch` is given; a search sets it

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from featherpose.sweeps.launcher import Processes

        processes = Processes(self.hydra_context, self.config, **self.slots)
        processes.feed = self.feed
        return processes.launch(job_overrides, initial_job_idx)
