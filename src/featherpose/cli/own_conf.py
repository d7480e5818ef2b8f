"""People's own configs: `conf/GROUP/NAME.yaml` in the folder where they stand."""

from __future__ import annotations

from pathlib import Path

from featherpose.errors import UsageError
from featherpose.place import CONF


def own_conf() -> Path | None:
    """conf/ of this folder, if there is one and it is not the program's own."""
    folder = Path.cwd() / "conf"
    if not folder.is_dir() or folder.resolve() == CONF.resolve():
        return None
    top = sorted(folder.glob("*.yaml"))
    if top:
        raise UsageError(
            f"{top[0]} would take the place of the program's own: a conf/ of yours holds groups only, "
            "e.g. conf/data/mine.yaml for data=mine or conf/experiment/mine.yaml for experiment=mine. Move it."
        )
    return folder


def taken() -> list[str]:
    """The files of it that the running job was composed of, relative to this folder."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    folder = own_conf()
    if folder is None or not GlobalHydra.instance().is_initialized():
        return []
    job = HydraConfig.get()
    words = [*job.overrides.hydra, *job.overrides.task]
    loader = GlobalHydra.instance().config_loader()
    chosen = loader.compute_defaults_list(job.job.config_name, list(words), RunMode.RUN)
    paths = [f"{each.config_path}.yaml" for each in chosen.defaults]
    return [f"conf/{path}" for path in dict.fromkeys(paths) if (folder / path).is_file()]
