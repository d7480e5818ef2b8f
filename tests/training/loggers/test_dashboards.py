"""Dashboards: what is written offline is read back and compared with the run's own files; nothing asks or crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from featherpose.errors import PoseError
from featherpose.protocol import Protocol
from featherpose.runs.record import RunRecord
from featherpose.runs.wandb_runs import OfflineRun, read_offline
from featherpose.training.loggers import dashboards, weights_and_biases


@pytest.fixture
def logged_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def loggers_config(root: Path, tmp_path: Path):
    def make(*choices: str) -> DictConfig:
        found: dict = {}
        for choice in choices:
            found |= (
                OmegaConf.to_container(OmegaConf.load(root / "conf" / "logger" / f"{choice}.yaml"))
                or {}
            )
        paths = {"runs": str(tmp_path), "output": str(tmp_path / "train" / "run")}
        return OmegaConf.create(
            {"seed": 3, "paths": paths, "model": {"stages": 3}, "logger": found}
        )

    return make


@pytest.fixture(scope="module")
def pairs(sweep: Path) -> list[tuple[Path, OfflineRun]]:
    """Each run folder of the real sweep with its W&B run."""
    folders = sorted(path.parent for path in sweep.glob("*/run.json"))
    records = [json.loads((folder / "run.json").read_text()) for folder in folders]
    return [
        (folder, read_offline(record["wandb"]["dir"]))
        for folder, record in zip(folders, records, strict=True)
    ]


def when_closed(place: str | Path) -> OfflineRun:
    """W&B's own process writes the last records some milliseconds after `finish()` returns."""
    for _ in range(50):
        try:
            run = read_offline(place)
        except PoseError:
            run = None
        if run is not None and run.exit_code is not None:
            return run
        time.sleep(0.1)
    raise AssertionError(f"{place} has no exit record")


def test_one_wandb_run_per_job_all_in_one_folder(
    sweep: Path, pairs: list[tuple[Path, OfflineRun]]
) -> None:
    assert len(pairs) == 4
    assert len({run.id for _, run in pairs}) == 4
    assert len(list((sweep.parents[1] / "wandb").glob("offline-run-*"))) == 4
    assert {run.group for _, run in pairs} == {sweep.name}
    names = [run.name for _, run in pairs]
    assert names == [
        f"lapx-s{stages}-synthetic-g0.2-seed{seed}" for seed in (0, 1) for stages in (2, 3)
    ]
    assert all({"lapx", "synthetic", "paper_no_tta"} <= set(run.tags) for _, run in pairs)


def test_the_trials_of_a_search_are_runs_of_one_group(
    root: Path, python: str, tmp_path: Path
) -> None:
    words = (
        "-m hydra/sweeper=search hydra.sweeper.n_trials=2 model.stages=choice(1,2) model.channels=16 debug=tiny "
        "data.people={train:8,val:4,test:2} callbacks.progress=null logger=wandb logger.wandb.mode=offline"
    )
    done = subprocess.run(
        [python, str(root / "src" / "train.py"), *words.split(), f"paths.runs={tmp_path}"],
        cwd=tmp_path,
        env=os.environ | {"NETRC": str(tmp_path / "no-netrc"), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (search,) = (tmp_path / "sweeps").iterdir()
    records = [json.loads(path.read_text()) for path in search.glob("*/run.json")]
    runs = [when_closed(record["wandb"]["dir"]) for record in records]
    assert len(runs) == 2 and {run.group for run in runs} == {search.name}


def test_what_the_sweep_file_ranks_by_is_a_plain_number(
    root: Path, pairs: list[tuple[Path, OfflineRun]]
) -> None:
    metric = yaml.safe_load((root / "docs" / "wandb" / "sweep.yaml").read_text())["metric"]
    for folder, run in pairs:
        best = json.loads((folder / "run.json").read_text())["best"]["score"]
        assert run.summary[metric["name"]] == pytest.approx(best)


def test_wandb_history_is_metrics_csv(pairs: list[tuple[Path, OfflineRun]]) -> None:
    for folder, run in pairs:
        ours, theirs = pd.read_csv(folder / "metrics.csv").set_index("epoch"), run.by_epoch()
        assert len(ours) == 3
        assert {
            "train/loss/stage1",
            "gamma/stage1",
            "val/joint/wrist",
            "images_per_s",
            "data_wait",
            "lr",
        } <= set(ours)
        for column in ours.columns.drop("step"):
            np.testing.assert_allclose(
                theirs.loc[ours.index, column], ours[column], rtol=1e-12, err_msg=column
            )
        for key in ("preview", "worst", "samples"):  # each few epochs, and the last
            assert theirs[f"{key}.path"].notna().sum() == 2


def test_wandb_config_is_the_resolved_config(pairs: list[tuple[Path, OfflineRun]]) -> None:
    for folder, run in pairs:
        config, record = (
            yaml.safe_load((folder / "config.yaml").read_text()),
            json.loads((folder / "run.json").read_text()),
        )
        facts = run.config.pop("run")
        assert run.config == config
        assert "${" not in json.dumps(run.config)
        assert facts["git"] == record["git"]
        assert facts["network"]["parameters"] == record["network"]["parameters"]
        asked = Protocol.of(run.config["protocol"])
        done = asked.applied(stride=4, boxes="ground_truth", mean="weighted")
        assert done.as_dict() == record["protocol"]


def test_wandb_exit_state_and_final_scores(pairs: list[tuple[Path, OfflineRun]]) -> None:
    for folder, run in pairs:
        record = json.loads((folder / "run.json").read_text())
        assert run.exit_code == record["exit_code"] == 0
        assert run.id == record["wandb"]["id"]
        assert run.summary["final/val/score"] == record["scores"]["val/score"]
        assert run.summary["best.epoch"] == record["best"]["epoch"]
        assert run.summary["protocol"] == "paper_no_tta"


def test_a_job_says_once_how_to_upload(sweep: Path, pairs: list[tuple[Path, OfflineRun]]) -> None:
    said = [
        line
        for line in (sweep / "terminal.txt").read_text().splitlines()
        if "runs.py upload" in line
    ]
    assert [line.split()[-1] for line in said] == [str(folder) for folder, _ in pairs]
    assert (sweep / "terminal.txt").read_text().count("offline, not logged in") == 4


def test_tensorboard_and_csv_got_the_same_numbers(sweep: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder in (path.parent for path in sweep.glob("*/run.json")):
        ours = pd.read_csv(folder / "metrics.csv")
        (events,) = (sweep.parents[1] / "tensorboard" / sweep.name).glob(f"{folder.name}-*/events*")
        accumulator = EventAccumulator(str(events))
        accumulator.Reload()
        scores = [event.value for event in accumulator.Scalars("val/score")]
        np.testing.assert_allclose(scores, ours["val/score"], rtol=1e-6)
        assert {"preview", "worst"} <= set(accumulator.Tags()["images"])
        assert accumulator.Images("preview")[0].encoded_image_string[:2] == b"\xff\xd8"  # a JPEG
        (table,) = accumulator.Tensors("samples/text_summary")[-1].tensor_proto.string_val
        assert table.decode().count("| worst |") == 6  # everybody
        steps = pd.read_csv(folder / "steps" / "metrics.csv")
        np.testing.assert_allclose(steps["train/loss"].dropna(), ours["train/loss"], rtol=1e-9)


def test_a_failed_run_is_recorded_as_failed(
    loggers_config, tmp_path: Path, logged_out: None
) -> None:
    loggers = dashboards.build_loggers(
        loggers_config("wandb"), tmp_path / "train" / "run", "failing", tags=["x"]
    )
    loggers[0].log_metrics({"epoch": 0, "val/score": 1.5}, step=4)
    place = dashboards.facts(loggers)["wandb"]["dir"]
    dashboards.finish(loggers, 1)
    run = when_closed(place)
    assert run.exit_code == 1
    assert run.by_epoch().loc[0, "val/score"] == 1.5
    assert run.group is None


def test_wandb_ranks_by_the_best_epoch(loggers_config, tmp_path: Path, logged_out: None) -> None:
    loggers = dashboards.build_loggers(loggers_config("wandb"), tmp_path / "train" / "run", "three")
    for epoch, score in enumerate([1.0, 3.0, 2.0]):
        loggers[0].log_metrics({"train/step/loss": score}, step=10 * epoch)
        values = dict.fromkeys(("val/score", "val/joint/wrist", "val/loss", "val/EPE", "lr"), score)
        loggers[0].log_metrics({"epoch": epoch} | values, step=10 * epoch + 5)
    place = dashboards.facts(loggers)["wandb"]["dir"]
    dashboards.finish(loggers, 0)
    run = when_closed(place)
    assert run.summary["val/score"] == {"max": 3}
    assert run.summary["val/joint/wrist"] == {"max": 3}
    assert run.summary["val/loss"] == run.summary["train/step/loss"] == {"min": 1}
    assert run.summary["val/EPE"] == {"min": 1}
    assert run.summary["lr"] == 2
    assert run.axes["train/step/loss"] == "trainer/global_step"
    assert run.axes["val/score"] == run.axes["lr"] == "epoch"
    steps = run.history.dropna(subset="train/step/loss")
    assert steps["epoch"].isna().all()  # or they would be taken for epochs
    assert steps["trainer/global_step"].tolist() == [0, 10, 20]


@pytest.mark.parametrize("key", ["not a key", "0123456789" * 4])
def test_a_bad_key_or_no_network_goes_offline_with_one_line(
    key: str,
    loggers_config,
    tmp_path: Path,
    logged_out: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    cfg = loggers_config("wandb")
    cfg.logger.wandb.init_timeout = 2
    loggers = dashboards.build_loggers(cfg, tmp_path / "train" / "run", "unlucky")
    loggers[0].log_metrics({"epoch": 0, "val/score": 2.5}, step=1)
    facts = dashboards.facts(loggers)["wandb"]
    dashboards.finish(loggers, 0)
    assert facts["mode"] == "offline"
    said = capsys.readouterr().out
    assert said.count("W&B: offline") == said.count("runs.py upload") == 1
    assert when_closed(facts["dir"]).history["val/score"].tolist() == [2.5]


WITHOUT_ROUTES = """
import json, sys
from omegaconf import OmegaConf
from featherpose.training.loggers import dashboards
loggers = dashboards.build_loggers(OmegaConf.create(json.loads(sys.argv[1])), sys.argv[2], "cut off")
for epoch in range(3):
    loggers[0].log_metrics({"epoch": epoch, "val/score": float(epoch)}, step=epoch)
print(json.dumps(dashboards.facts(loggers)["wandb"]))
dashboards.finish(loggers, 0)
"""


def test_without_routes_a_run_with_a_key_is_whole_offline(
    root: Path, loggers_config, tmp_path: Path, logged_out: None
) -> None:
    """A network namespace of its own: no route to anywhere, not even a refusal."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make network namespaces")
    cfg = loggers_config("wandb")
    cfg.logger.wandb.init_timeout = 2
    config = json.dumps(OmegaConf.to_container(cfg))
    line = ["unshare", "-n", sys.executable, "-c", WITHOUT_ROUTES, config, str(tmp_path / "run")]
    done = subprocess.run(
        line,
        env={**os.environ, "WANDB_API_KEY": "0123456789" * 4, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "W&B: offline" in done.stdout
    facts = json.loads(next(each for each in done.stdout.splitlines() if each.startswith("{")))
    assert facts["mode"] == "offline"
    run = when_closed(facts["dir"])
    assert run.exit_code == 0
    assert run.history["val/score"].tolist() == [0, 1, 2]
    assert run.summary["val/score"] == {"max": 2}
    assert run.config["model"] == {"stages": 3}


def test_a_key_is_found_without_asking(
    logged_out: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not weights_and_biases.logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine wandb.example.org login user password " + "a" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert weights_and_biases.logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://elsewhere.example.org")
    assert not weights_and_biases.logged_in()


def test_the_best_checkpoint_as_an_artifact_by_option(
    loggers_config, tmp_path: Path, logged_out: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "train" / "run"
    folder.mkdir(parents=True)
    checkpoint = folder / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    record = {
        "best": {"path": str(checkpoint), "score": 50.0, "epoch": 1},
        "protocol": {"name": "raw"},
        "scores": {},
    }
    (folder / "run.json").write_text(json.dumps(record))
    kept: list[tuple[Path, RunRecord]] = []
    monkeypatch.setattr(
        weights_and_biases, "upload_checkpoint", lambda run, path, about: kept.append((path, about))
    )
    for wanted, code in ((False, 0), (True, 1), (True, 0)):
        cfg = loggers_config("wandb")
        cfg.logger.wandb.best_checkpoint = wanted
        dashboards.finish(dashboards.build_loggers(cfg, folder, "kept"), code)
    assert kept == [(checkpoint, RunRecord.read(folder))]


def test_offline_artifacts_are_written_with_the_run(
    loggers_config, tmp_path: Path, logged_out: None
) -> None:
    folder = tmp_path / "train" / "run"
    folder.mkdir(parents=True)
    (folder / "best.ckpt").write_bytes(b"weights")
    best = {"path": str(folder / "best.ckpt"), "score": 50.0, "epoch": 1}
    (folder / "run.json").write_text(json.dumps({"best": best, "protocol": {"name": "raw"}}))
    cfg = loggers_config("wandb")
    cfg.logger.wandb.best_checkpoint = True
    loggers = dashboards.build_loggers(cfg, folder, "kept")
    place = Path(dashboards.facts(loggers)["wandb"]["dir"])
    dashboards.finish(loggers, 0)
    assert when_closed(place).exit_code == 0
    (log,) = place.glob("run-*.wandb")
    content = log.read_bytes()
    assert b"kept-best" in content
    assert b"best.ckpt" in content


def test_a_resumed_run_keeps_its_wandb_id(loggers_config, tmp_path: Path, logged_out: None) -> None:
    folder = tmp_path / "train" / "run"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"wandb": {"id": "abcd1234"}}))
    loggers = dashboards.build_loggers(loggers_config("wandb"), folder, "resumed")
    assert dashboards.facts(loggers)["wandb"]["id"] == "abcd1234"
    dashboards.finish(loggers, 0)


def test_other_processes_start_nothing(
    loggers_config, tmp_path: Path, logged_out, monkeypatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    loggers = dashboards.build_loggers(
        loggers_config("wandb"), tmp_path / "train" / "run", "rank one"
    )
    assert len(loggers) == 1
    assert dashboards.facts(loggers) == {}
    dashboards.finish(loggers, 0)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("logger=wandb", ["wandb"]),
        ("logger=none", []),
        ("logger=[wandb,csv]", ["wandb", "csv"]),
        ("logger=[tensorboard,mlflow,trackio]", ["tensorboard", "mlflow", "trackio"]),
    ],
)
def test_any_combination_can_be_chosen(root: Path, choice: str, names: list[str]) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=[choice])
    assert list(cfg.logger or {}) == names


def test_a_missing_package_is_named(
    loggers_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(
        PoseError, match=r"logger=trackio needs .*pip install 'featherpose\[loggers\]'"
    ):
        dashboards.build_loggers(loggers_config("trackio"), tmp_path / "run", "name")


def test_trackio_rows_by_epoch(
    loggers_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio")
    import sqlite3

    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    loggers = dashboards.build_loggers(loggers_config("trackio"), tmp_path / "run", "local")
    loggers[0].log_metrics({"epoch": 0, "val/score": 4.5}, step=9)
    dashboards.finish(loggers, 0)
    from trackio import utils

    database = Path(utils.TRACKIO_DIR) / "featherpose.db"
    rows: list = []
    for _ in range(100):  # a thread of trackio's writes it
        if database.is_file():
            with sqlite3.connect(database) as connection:
                rows = connection.execute(
                    "select step, metrics from metrics where run_name like 'local-%'"
                ).fetchall()
        if rows:
            break
        time.sleep(0.1)
    assert [step for step, _ in rows] == [0]
    assert json.loads(rows[0][1])["val/score"] == 4.5


def test_mlflow_keeps_config_metrics_and_state(loggers_config, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    loggers = dashboards.build_loggers(
        loggers_config("mlflow"), tmp_path / "run", "local", group="sweep", tags=["a", "b"]
    )
    loggers[0].log_hyperparams({})
    loggers[0].log_metrics({"epoch": 0, "val/score": 4.5}, step=9)
    run_id = loggers[0].run_id
    dashboards.finish(loggers, 1)
    run = loggers[0].experiment.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.metrics["val/score"] == 4.5
    assert run.data.params["model.stages"] == "3"
    assert run.data.tags["group"] == "sweep"


def test_a_dashboard_that_cannot_close_is_told_and_passed_over(capsys) -> None:
    class Broken:
        def close_run(self, exit_code: int) -> None:
            raise OSError("disk full")

    closed: list[int] = []

    class Fine:
        def close_run(self, exit_code: int) -> None:
            closed.append(exit_code)

    dashboards.finish([Broken(), Fine()], 1)
    assert closed == [1]
    assert "Broken could not be closed: disk full" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "choices", "name"),
    [
        ({}, {}, "lapx-s3-mpii-g0.2-seed0"),
        (
            {"seed": 7, "model": {"stages": 2, "neck": None}},
            {"model": "hourglass"},
            "hourglass-s2-mpii-seed7",
        ),
        (
            {"model": {"block": "leema"}},
            {"model": "le_hrnet", "data": "coco"},
            "le_hrnet-coco-seed0",
        ),
        ({"name": "mine"}, {}, "mine"),
        ({"seed": 2}, {"experiment": "lapx_table3_05"}, "lapx_table3_05-seed2"),
    ],
)
def test_names_that_people_can_read(config: dict, choices: dict, name: str) -> None:
    base = {
        "seed": 0,
        "model": {"stages": 3, "neck": "eca_nonlocal_at_ends"},
        "schedule": {"gamma": {"target": 0.2}},
    }
    found, group, _ = dashboards.describe_run(
        OmegaConf.create(base | config), {"model": "lapx", "data": "mpii"} | choices
    )
    assert found == name
    assert group is None


@pytest.mark.parametrize(
    ("mode", "experiment", "named"),  # the launcher of one process per job gives each the mode RUN
    [
        ("RUN", [], "lapx-s3-synthetic-g0.2-learning_rate0.0005-none"),
        ("MULTIRUN", [], "lapx-s3-synthetic-g0.2-learning_rate0.0005-none"),
        ("RUN", ["experiment=first_look"], "first_look-learning_rate0.0005-none-stages3"),
    ],
)
def test_what_a_sweep_varies_is_in_the_names(
    mode: str, experiment: list[str], named: str, root: Path, tmp_path: Path
) -> None:
    asked = [
        "schedule.learning_rate=0.001,0.0005",
        "augment=none,lapx",
        "model.stages=2,3",
        "schedule.epochs=5",
    ]
    (tmp_path / "multirun.yaml").write_text(
        yaml.safe_dump({"hydra": {"overrides": {"task": asked}}})
    )
    job = ["schedule.learning_rate=0.0005", "augment=none", "model.stages=3", "schedule.epochs=5"]
    output = f"hydra.runtime.output_dir={tmp_path / '0_lapx-synthetic'}"
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        overrides = [
            *job,
            *experiment,
            f"hydra.sweep.dir={tmp_path}",
            output,
            f"hydra.mode={mode}",
            "hydra.job.num=0",
        ]
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
    try:
        name, group, tags = dashboards.describe_run(cfg, dict(cfg.hydra.runtime.choices))
    finally:
        HydraConfig.instance().cfg = None
    assert name == f"{named}-seed0"
    assert group == tmp_path.name
    assert {"lapx", "synthetic", "paper_no_tta"} <= set(tags)
