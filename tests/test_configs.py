"""Every YAML composes, resolves and names targets that exist; every key of the training config is read by something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from featherpose.targets import build

pytestmark = pytest.mark.slow

CONF = Path(__file__).resolve().parents[1] / "conf"
PRIMARY = ("train", "evaluate", "predict", "export", "benchmark")


def choices(group: str) -> list[str]:
    """What may be chosen; a name that begins with _ is a parent of others."""
    return sorted(p.stem for p in (CONF / group).glob("[!_]*.yaml"))


def composed(primary: str, *overrides: str, output: str = "/tmp/run") -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = [
            *overrides,
            f"hydra.runtime.output_dir={output}",
        ]
        cfg = compose(primary, words, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def targets(node: object) -> list[str]:
    if isinstance(node, dict):
        here = [node["_target_"]] if "_target_" in node else []
        return here + [t for value in node.values() for t in targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in targets(value)]
    return []


def check(cfg: DictConfig) -> dict:
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]), resolve=False
    )
    cfg = OmegaConf.create({k: v for k, v in cfg.items() if k != "hydra"})
    found = targets(plain)
    for target in found:
        assert callable(get_method(target)), target
    return plain


GROUPS = [
    (group, choice)
    for group in (
        "model",
        "data",
        "schedule",
        "augment",
        "loss",
        "protocol",
        "callbacks",
        "logger",
        "trainer",
        "debug",
    )
    for choice in choices(group)
]


@pytest.mark.parametrize(("group", "choice"), GROUPS, ids=[f"{g}={c}" for g, c in GROUPS])
def test_every_choice_composes_and_its_targets_exist(group: str, choice: str) -> None:
    cfg = composed("train", f"{group}={choice}")
    check(cfg)
    OmegaConf.resolve(
        OmegaConf.create(
            {
                k: cfg[k]
                for k in ("paths", "model", "data", "schedule", "loss", "protocol", "augment")
            }
        )
    )


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_row_of_a_published_table_composes(experiment: str) -> None:
    cfg = composed("train", f"experiment={experiment}")
    check(cfg)


def test_no_two_experiments_are_one_training() -> None:
    """Compared is what the weights depend on: how they are scored, and where things lie, is left out."""
    names: dict[str, str] = {}
    for experiment in choices("experiment"):
        training = resolved_training(experiment)
        same = names.setdefault(training, experiment)
        assert same == experiment, f"{experiment} and {same} are one training"


def resolved_training(experiment: str) -> str:
    cfg = composed("train", f"experiment={experiment}")
    cfg = OmegaConf.create({k: v for k, v in cfg.items() if k != "hydra"})
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    for key in ("name", "tags", "paths", "protocol", "logger", "sweep", "evaluate_best"):
        del plain[key]
    del plain["data"]["metric"]
    return json.dumps(plain, sort_keys=True, default=str)


@pytest.mark.parametrize("primary", PRIMARY)
def test_every_verb_composes(primary: str) -> None:
    check(composed(primary))


@pytest.mark.parametrize("what", choices("benchmark"))
def test_every_benchmark_composes(what: str) -> None:
    check(composed("benchmark", f"benchmark={what}"))


@pytest.mark.parametrize("model", choices("model"))
def test_a_network_brings_its_papers_recipe_and_the_command_line_goes_before_it(model: str) -> None:
    cfg = composed("train", f"model={model}")
    recipe = cfg.hydra.runtime.choices.schedule
    assert recipe in choices("schedule")
    other = next(c for c in choices("schedule") if c != recipe)
    assert (
        composed("train", f"model={model}", f"schedule={other}").hydra.runtime.choices.schedule
        == other
    )


@pytest.mark.parametrize(("stages", "channels"), [(2, 256), (3, 208), (4, 180), (5, 160)])
def test_widths_follow_the_parameter_budget(stages: int, channels: int) -> None:
    network = build(composed("train", f"model.stages={stages}").model)
    assert network.channels == channels
    assert 2.2e6 < sum(p.numel() for p in network.parameters()) < 2.4e6


@pytest.mark.parametrize(
    ("words", "epochs", "batch", "rate"),
    [
        (["model=lapx", "data=mpii"], 200, 32, 3e-4),
        (["model=lapx", "data=coco"], 210, 32, 2e-4),
        (["model=le_hrnet", "data=coco"], 300, 16, 1e-3),
        (["model=le_hrnet", "data=mpii"], 210, 8, 1e-3),
    ],
)
def test_the_papers_recipes(words: list[str], epochs: int, batch: int, rate: float) -> None:
    schedule = composed("train", *words).schedule
    assert (schedule.epochs, schedule.batch_size, schedule.learning_rate) == (epochs, batch, rate)


def test_repose_trains_in_steps() -> None:
    schedule = composed("train", "model=repose", "data=lsp_mpii").schedule
    assert schedule.steps == 2_000_000
    assert schedule.batch_size == 64


def leaves(node: dict, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for key, value in node.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_what_an_experiment_writes_is_what_runs(experiment: str) -> None:
    """No value of the training config's own, or of a group, overrides it."""
    written = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml"))
    assert isinstance(written, dict)
    written.pop("defaults", None)
    cfg = OmegaConf.to_container(composed("train", f"experiment={experiment}"), resolve=False)
    for path, value in leaves(written).items():
        found: object = cfg
        for key in path:
            assert isinstance(found, dict)
            found = found[key]
        assert found == value, ".".join(path)


def test_repose_is_scored_by_its_own_mean_unless_another_protocol_is_asked_for() -> None:
    assert composed("train", "model=repose").protocol.mean == "unweighted"
    assert composed("train", "experiment=repose_table5_add").protocol.mean == "unweighted"
    assert composed("train", "model=repose", "protocol=paper_tta").protocol.mean == "weighted"
    assert composed("train", "model=lapx").protocol.mean == "weighted"
