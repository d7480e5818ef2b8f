"""Every YAML composes, resolves and names targets that exist; every key of the training config is read by something."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from featherpose.overrides.unread import BUILT, is_parameter, target
from featherpose.protocol import Protocol
from featherpose.targets import build
from featherpose.training.schedules import Gamma, Schedule

pytestmark = pytest.mark.slow

CONF = Path(__file__).resolve().parents[1] / "conf"
PRIMARY = ("train", "evaluate", "predict", "export", "benchmark")


def choices(group: str) -> list[str]:
    """What may be chosen; a name that begins with _ is a parent of others."""
    return sorted(p.stem for p in (CONF / group).glob("[!_]*.yaml"))


def composed(primary: str, *overrides: str, output: str = "/tmp/run") -> DictConfig:
    cfg = compose_once(primary, (*overrides, f"hydra.runtime.output_dir={output}"))
    HydraConfig.instance().set_config(cfg)
    return cfg


@cache
def compose_once(primary: str, words: tuple[str, ...]) -> DictConfig:
    """Composing takes half a second, and the experiments are looked at in several ways."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(primary, list(words), return_hydra_config=True)
    OmegaConf.set_readonly(cfg, True)
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
    for name in targets(plain):
        assert callable(get_method(name)), name
    return plain


# Rooms that read a run's config key by key
READERS = ("cli", "overrides", "training", "sweeps", "runs", "zoo", "evaluation")
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for room in READERS
    for path in sorted((CONF.parent / "src" / "featherpose" / room).rglob("*.py"))
)
# Groups that become a type, whose fields are what is read
TYPES = {"schedule": Schedule, "schedule.gamma": Gamma, "protocol": Protocol}
HYDRAS = ("_target_", "_partial_", "_args_")


def unread(plain: dict, cfg: DictConfig) -> Iterator[str]:
    """The keys of a training config that nothing reads.

    Below a `_target_` a key is read as its parameter. Others are fields of a type, or stand in the code. Any key may
    also be referred to by another value.
    """
    text = repr(plain)
    for path in leaves(plain):
        node = path[:-1] if path[-1] in HYDRAS else path
        entry = len(node) == 2 and node[0] in BUILT
        made = any(target(cfg, node[:depth]) for depth in range(1, len(node)))
        said = is_parameter(cfg, node) if made else in_the_code(node)
        if not (entry or said or is_referred_to(node, text)):
            yield ".".join(path)


@cache  # each look reads all of the code, and most keys are in every config
def in_the_code(node: tuple[str, ...]) -> bool:
    key, whole = node[-1], ".".join(node)
    made = TYPES.get(".".join(node[:-1]))
    if made and key in {field.name for field in fields(made)}:
        return True
    return bool(re.search(rf"\b(cfg|config)(\.\w+)*\.{key}\b|[\[(]\"{key}\"|\"{whole}\"", CODE))


def is_referred_to(node: tuple[str, ...], text: str) -> bool:
    """By its name, by a folder's above it, from beside it, or as a row of what depends on the data's name."""
    if (
        node[:2] == ("schedule", "on")
        and f"schedule.on.${{data.name}}.{'.'.join(node[3:])}" in text
    ):
        return True
    references = set(re.findall(r"\$\{(?:oc\.select:)?(\.*[\w.]+)", text))
    above = {".".join(node[:depth]) for depth in range(1, len(node) + 1)}
    beside = {".".join(node[start:]) for start in range(1, len(node))}
    return any(
        name.lstrip(".") in beside if name.startswith(".") else name in above for name in references
    )


def test_a_key_that_nothing_reads_is_found() -> None:
    cfg = composed("train", "+weight_of_words=1", "+data.colour_of_hats=red", "+loss.sigmas=2")
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]), resolve=False
    )
    assert isinstance(plain, dict)
    assert set(unread(plain, cfg)) == {"data.colour_of_hats", "loss.sigmas", "weight_of_words"}


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
    on = ("data=mpii",) if group == "model" else ()  # as its recipe is looked at, further down
    cfg = composed("train", f"{group}={choice}", *on)
    plain = check(cfg)
    assert not [key for key in unread(plain, cfg) if key.startswith(f"{group}.")]
    OmegaConf.resolve(
        OmegaConf.create(
            {
                k: cfg[k]
                for k in ("paths", "model", "data", "schedule", "loss", "protocol", "augment")
            }
        )
    )


def test_every_key_of_the_training_config_is_read() -> None:
    cfg = composed("train")
    assert not list(unread(check(cfg), cfg))


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


def test_what_people_fill_with_names_of_their_own_takes_them() -> None:
    """Hydra adds no key to a mapping that is there: one that starts as {} could not be given without a +."""
    cfg = composed("train", "data=people17", "data.read.weights={lspet: 2, human_v2: 0.5}")
    assert dict(cfg.data.read.weights) == {"lspet": 2, "human_v2": 0.5}
    empty = [
        path.relative_to(CONF)
        for path in CONF.rglob("*.yaml")
        if re.search(r"^[^#\n]*: \{\}", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert empty == [Path("benchmark/threads.yaml")]  # a mapping of named lists, {} is one of them


@pytest.mark.parametrize("primary", PRIMARY)
def test_every_verb_composes(primary: str) -> None:
    check(composed(primary))


@pytest.mark.parametrize("what", choices("benchmark"))
def test_every_benchmark_composes(what: str) -> None:
    check(composed("benchmark", f"benchmark={what}"))


# What each paper trains with, written out from its text; on MPII, and where RePose trains on LSP and MPII
LAPX = {
    "schedule": {
        "optimiser": {"_target_": "torch.optim.Adam", "_partial_": True},
        "epochs": 200,
        "batch_size": 32,
        "learning_rate": 3e-4,
        "milestones": [105, 150, 175, 190],
        "factors": 0.5,
        "gamma": {"freeze": 30, "ramp": 50, "target": 0.2, "unit": "epochs"},
    },
    "augment": {"scale": [0.75, 1.25], "rotation": 40, "flip": 0.5, "half_body": 0, "colour": []},
    "loss": {"reduction": "lapx", "sigma": 2, "quantised": True, "truncate": 3},
}
LE_HRNET = {
    "schedule": {
        "optimiser": {"_target_": "torch.optim.Adam", "_partial_": True},
        "epochs": 210,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "milestones": [170, 200],
        "factors": 0.1,
        "gamma": None,
    },
    "augment": {"scale": [0.65, 1.35], "rotation": 45, "flip": 0.5, "half_body": 0, "colour": []},
    "loss": {"reduction": "le_hrnet", "sigma": 2, "quantised": True, "truncate": 3},
}
REPOSE = {
    "schedule": {
        "optimiser": {"_target_": "torch.optim.Adam", "_partial_": True},
        "unit": "step",
        "steps": 2_000_000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "milestones": [1_000_000, 1_300_000],
        "factors": [0.5, 0.002],
        "gamma": None,
    },
    "augment": {"scale": [0.7, 1.3], "rotation": 60, "flip": 0.5, "half_body": 0},
    "loss": {"reduction": "repose", "sigma": 5, "quantised": False, "truncate": None},
}
RECIPES = {
    **dict.fromkeys(("lapx", "lap", "lapx_fast", "hourglass", "hourglass_shuffle"), LAPX),
    "lapx_simcc": {group: LAPX[group] for group in ("schedule", "augment")},
    "repose": REPOSE,
}  # the others have HRNet's, which is LE-HRNet's


@pytest.mark.parametrize("model", choices("model"))
def test_a_network_brings_its_papers_recipe(model: str) -> None:
    cfg = composed("train", f"model={model}", "data=mpii")
    for group, wanted in RECIPES.get(model, LE_HRNET).items():
        found = OmegaConf.to_container(cfg[group], resolve=True)
        assert isinstance(found, dict)
        assert {key: found[key] for key in wanted} == wanted, group


def test_repose_jitters_colours() -> None:
    (jitter,) = composed("train", "model=repose").augment.colour
    assert jitter["_target_"] == "albumentations.ColorJitter" and jitter.p == 1
    assert [list(jitter[key]) for key in ("brightness", "contrast", "saturation", "hue")] == [
        *[[0.8, 1.2]] * 3,
        [-0.02, 0.02],
    ]


@pytest.mark.parametrize(
    "words", [["model=repose", "schedule=lapx"], ["schedule=lapx", "model=repose"]]
)
def test_the_command_line_overrides_a_networks_recipe(words: list[str]) -> None:
    cfg = composed("train", *words, "data=mpii")
    assert cfg.schedule.learning_rate == 3e-4
    assert cfg.loss.reduction == "repose"


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


def test_repose_s_probable_training_set_has_three_sets_and_repose_s_schedule() -> None:
    cfg = composed("train", "model=repose", "data=lsp_lspet_mpii")
    assert set(cfg.data.read.sets) == {"lsp", "lspet", "mpii"}
    assert cfg.data.read.validate == "lsp"
    assert cfg.schedule.steps == 2_000_000


def test_the_page_of_all_keys_is_what_the_files_say(root: Path) -> None:
    page = runpy.run_path(str(root / "scripts" / "config_page.py"))["page"]()
    again = "run python scripts/config_page.py"
    assert (root / "docs" / "configuration.md").read_text(encoding="utf-8") == page, again
    for row in (
        "| `init_strict` | `false` | refuse weights that do not fit as a whole |",
        "| `schedule.gamma.target` | `0.2` | where the ramp ends |",
        "the whole picture, who is then looked at closer",  # goes on in the next line
    ):
        assert row in page


def test_the_drawings_are_of_the_networks_as_they_are_built(root: Path) -> None:
    drawings = runpy.run_path(str(root / "scripts" / "draw_networks.py"))["drawings"]()
    assert set(drawings) == {"lapx", "lap", "le_hrnet", "repose"}
    for name, drawing in drawings.items():
        file = root / "docs" / "images" / f"network_{name}.svg"
        again = "run python scripts/draw_networks.py"
        assert file.read_text(encoding="utf-8") == drawing.svg(), again
