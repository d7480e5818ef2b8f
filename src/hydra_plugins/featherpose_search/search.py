"""`hydra/sweeper=search`, for Hydra to find; it reads this file at every start, so the work is imported later."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from featherpose.errors import PoseError


class SearchSweeper(Sweeper):
    """`featherpose.sweeps.search.Search` as Hydra calls it; `conf/hydra/sweeper/search.yaml` has its keys."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        try:
            import optuna  # noqa: F401
        except ModuleNotFoundError as error:
            how = "pip install 'featherpose[search]'"
            raise PoseError(f"hydra/sweeper=search needs Optuna: {how}.") from error
        from featherpose.sweeps.search import Search

        context, config = self.hydra_context, self.config
        assert context is not None and config is not None

        def launcher(config: DictConfig) -> Any:
            return Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=self.task_function, config=config
            )

        return Search(config, launcher, context.config_loader, **self.settings).run(arguments)
