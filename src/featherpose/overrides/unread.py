"""Keys that somebody added at the prompt (`+key=value`) and that nothing reads: most are typing errors.

A key is read if the composed config has it anyway, if it is a parameter of the `_target_` that it lies under, if it
makes a callback or a logger, or if another value refers to it by `${key}`.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from featherpose.errors import UsageError

Path = tuple[str, ...]
# Every entry of these groups that has a `_target_` is built, whatever its name
BUILT = ("callbacks", "logger")


def refuse(cfg: DictConfig) -> None:
    """Ends with one sentence if the running job has a key that nothing reads."""
    for path in unread(cfg)[:1]:
        raise UsageError(sentence(path))


def unread(cfg: DictConfig) -> list[Path]:
    return [path for path in suspects(cfg) if not is_parameter(cfg, path)]


def suspects(cfg: DictConfig) -> list[Path]:
    """The added keys that only a signature can still save; finding them needs no heavy import.

    Args:
        cfg: what Hydra composed for the job that `HydraConfig` describes.
    """
    job = HydraConfig.get()
    added = [o for o in parsed(job.overrides.task) if o.is_add() or o.is_force_add()]
    paths = [path for override in added for path in leaves(override)]
    if not paths or not GlobalHydra.instance().is_initialized():
        return []
    cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    plain = without_the_added(job)
    hydras = str(OmegaConf.to_container(job.overrides.hydra, resolve=False))
    return [
        path
        for path in paths
        if not holds(plain, path)
        and not makes_an_entry(cfg, path)
        and f"${{{'.'.join(path)}}}" not in hydras
        and not another_value_reads(cfg, path)
    ]


def parsed(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def leaves(override: Override) -> Iterator[Path]:
    """Every key that an override sets; a mapping as its value sets several."""
    path = tuple(override.get_key_element().lstrip("+~").split("."))
    yield from _leaves(path, None if override.is_sweep_override() else override.value())


def _leaves(path: Path, value: Any) -> Iterator[Path]:
    if not isinstance(value, dict) or not value or any(str(k) == "_target_" for k in value):
        yield path
        return
    for key, below in value.items():
        yield from _leaves((*path, str(key)), below)


def without_the_added(job: HydraConf) -> Any:
    """The config of the same choices, with no value changed."""
    plain = composed(str(job.job.config_name), choices_of(job))
    return OmegaConf.to_container(plain, resolve=False)


def choices_of(job: HydraConf) -> list[str]:
    """The words that choose from groups, and where these are looked for."""
    groups = [
        str(o.input_line)
        for o in parsed(job.overrides.task)
        if o.key_or_group in job.runtime.choices
    ]
    return [*groups, *(w for w in job.overrides.hydra if w.startswith("hydra.searchpath="))]


def composed(name: str, words: Sequence[str]) -> DictConfig:
    return GlobalHydra.instance().config_loader().load_configuration(name, list(words), RunMode.RUN)


def hint(key: str, name: str, choices: Sequence[str]) -> str:
    """` (did you mean schedule.epochs?)` of a key that the config of these choices does not have, or nothing."""
    try:
        plain = composed(name, choices)
    except (HydraException, OmegaConfBaseException, ValueError):  # the choices are wrong, too
        return ""
    known = [path for path in paths_of(plain) if not path.startswith("hydra.")]
    alike = [path for path in known if path.endswith(f".{key}")]  # epochs: schedule.epochs
    own = [path for path in alike if not any(refers(plain, path, other) for other in alike)]
    close = get_close_matches(key, known, n=1, cutoff=0.7)
    near = [*sorted(own, key=lambda path: path.count(".")), *close]
    return f" (did you mean {near[0]}?)" if near else ""


def holds(tree: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def node(cfg: Any, path: Path) -> Any:
    return OmegaConf.select(cfg, ".".join(path)) if path else cfg


def target(cfg: Any, path: Path) -> str | None:
    found = node(cfg, path)
    return found.get("_target_") if isinstance(found, DictConfig) else None


def makes_an_entry(cfg: DictConfig, path: Path) -> bool:
    """`+callbacks.mine._target_=...`, or the whole mapping at once."""
    return path[0] in BUILT and path[2:] in ((), ("_target_",)) and bool(target(cfg, path[:2]))


def another_value_reads(cfg: DictConfig, path: Path) -> bool:
    """Whether the rest of the config resolves to anything else without it."""
    rest = copy.deepcopy(cfg)
    OmegaConf.set_struct(rest, False)
    OmegaConf.set_readonly(rest, False)
    removed(rest, path)
    whole = OmegaConf.to_container(cfg, resolve=True)
    removed(whole, path)
    try:
        return repr(OmegaConf.to_container(rest, resolve=True)) != repr(whole)
    except OmegaConfBaseException:
        return True


def removed(tree: Any, path: Path) -> None:
    for key in path[:-1]:
        tree = tree[key]
    del tree[path[-1]]


def is_parameter(cfg: Any, path: Path) -> bool:
    """Whether the nearest `_target_` above takes it; this imports the target."""
    if path[-1] in ("_target_", "_partial_", "_recursive_", "_convert_", "_args_"):
        path = path[:-1]
    for depth in range(len(path) - 1, -1, -1):
        name = target(cfg, path[:depth])
        if name:
            return accepts(name, path[depth])
    return False


def accepts(name: str, parameter: str) -> bool:
    """Our own functions name all that they read; what others collect by `**` they may pass on."""
    try:
        function = get_object(name)
        known = inspect.signature(function).parameters
    except Exception:  # building it says what is wrong with it, and better
        return True
    if parameter in known:
        return known[parameter].kind not in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
    called = function.__init__ if inspect.isclass(function) else function
    ours = str(getattr(called, "__module__", "")).startswith("featherpose")
    return not ours and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())


def sentence(path: Path) -> str:
    key, job = ".".join(path), HydraConfig.get()
    near = hint(key, str(job.job.config_name), choices_of(job))
    return (
        f"Nothing reads +{key}{near}: it is no key of the config, no parameter of what is built there, and no other "
        f"value refers to it by ${{{key}}}. Leave it out, or write it as --cfg job shows it."
    )


def refers(cfg: DictConfig, path: str, other: str) -> bool:
    """Whether the value at `path`, as it is written, is `${other}` or `${oc.select:other,...}`."""
    above, _, key = path.rpartition(".")
    tree: Any = OmegaConf.to_container(OmegaConf.select(cfg, above), resolve=False)
    return re.match(rf"\$\{{(oc\.select:)?{re.escape(other)}\b", str(tree[key])) is not None


def paths_of(cfg: DictConfig, above: str = "") -> Iterator[str]:
    for key in map(str, cfg):
        path = f"{above}{key}"
        yield path
        if OmegaConf.is_interpolation(cfg, key) or OmegaConf.is_missing(cfg, key):
            continue
        below = cfg[key]
        if isinstance(below, DictConfig):
            yield from paths_of(below, f"{path}.")
