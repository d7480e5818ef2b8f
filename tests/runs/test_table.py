"""Tables in the papers' layout, and the papers' own rows."""

from __future__ import annotations

import copy
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from featherpose.runs.folder import Run
from featherpose.runs.published import OWN_RECIPE, Row, nearest, published, rows, rows_frame
from featherpose.runs.table import csv, latex, markdown, tables

PEERS = 32  # rows of networks in conf/model whose own training is not HRNet's

LAPX = {
    "model": {
        "_target_": "featherpose.models.hourglass.Hourglass",
        "stages": 3,
        "channels": None,
        "depth": 4,
        "soft_gate": True,
        "stem_attention": "eca_cbam",
        "stage_attention": "eca_cbam",
        "neck": "eca_nonlocal_at_ends",
    },
    "callbacks": {"gamma_warmup": {"target": 0.2}},
    "schedule": {"unit": "epoch", "epochs": 200},
    "loss": {"reduction": "lapx", "sigma": 2.0},
    "data": {"name": "mpii"},
}


def test_every_row_of_the_papers_is_there() -> None:
    counts = rows_frame().groupby(["paper", "table", "data"]).size().to_dict()
    assert counts[("LAPX", "1", "mpii")] == 9
    assert counts[("LAPX", "2", "coco")] == 22
    assert counts[("LAPX", "3", "mpii")] == 14
    assert [
        counts[("LE-HRNet", t, d)] for t, d in (("1", "coco"), ("2", "coco"), ("3", "mpii"))
    ] == [29, 12, 18]
    assert counts[("RePose", "1", "lsp")] == 9
    assert counts[("RePose", "2", "mpii")] == 11
    assert [counts[("RePose", table, "lsp")] for table in "34567"] == [3, 5, 3, 3, 4]
    assert len(rows()) == sum(counts.values()) == 172


@pytest.mark.parametrize(
    ("paper", "table", "method", "data", "values"),
    [
        (
            "LAPX",
            "3",
            "2-stage (channels=256)",
            "mpii",
            {"head": 95.94, "shoulder": 94.55, "ankle": 76.24, "score": 86.45},
        ),
        (
            "LE-HRNet",
            "1",
            "LE-HRNet",
            "coco",
            {"score": 74.0, "AP50": 91.9, "AP75": 80.5, "APM": 70.6, "APL": 77.4, "AR": 77.1},
        ),
        (
            "LE-HRNet",
            "3",
            "LE-HRNet",
            "mpii",
            {"head": 97.2, "wrist": 85.1, "score": 90.2, "parameters": 4.2},
        ),
        (
            "RePose",
            "1",
            "RePose",
            "lsp",
            {"head": 97.75, "shoulder": 92.9, "hip": 91.19, "score": 91.66, "gflops": 13.5},
        ),
        (
            "RePose",
            "2",
            "RePose",
            "mpii",
            {"elbow": 91.0, "hip": 92.95, "ankle": 82.5, "score": 90.29},
        ),
        ("RePose", "6", "2 stages", "mpii", {"score": 91.55, "parameters": 8.4, "gflops": 29.4}),
    ],
)
def test_printed_figures(
    paper: str, table: str, method: str, data: str, values: dict[str, float]
) -> None:
    (row,) = [
        r for r in rows() if (r.paper, r.table, r.method, r.data) == (paper, table, method, data)
    ]
    assert {key: row.values[key] for key in values} == values


def test_the_weighted_mean_of_the_joint_columns_is_the_printed_total() -> None:
    """One set of weights (how often joints are annotated) gives all 14 totals: a mistyped figure would not fit."""
    table = rows_frame().query("paper == 'LAPX' and table == '3'")
    joints = table[["head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]].to_numpy(float)
    weights, *_ = np.linalg.lstsq(joints, table["score"].to_numpy(float), rcond=None)
    assert np.abs(joints @ weights - table["score"]).max() < 0.02
    assert weights.sum() == pytest.approx(1.0, abs=0.01)
    assert (weights > 0.05).all()


def test_repose_prints_the_plain_mean_of_its_columns() -> None:
    table = rows_frame().query("paper == 'RePose' and table == '2' and method == 'RePose'")
    joints = table[["head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]].to_numpy(float)
    assert joints.mean() == pytest.approx(90.299, abs=5e-4)
    assert table["score"].item() == 90.29


def compared() -> dict[str, Row]:
    """The row that each experiment file of the project says it repeats."""
    found = {}
    for row in rows():
        if row.config is None:
            continue
        if row.paper == "LAPX" and row.table == "3":
            found[f"lapx_table3_{row.index:02d}"] = row
        if row.paper == "LE-HRNet" and row.table == "4":
            found[
                f"le_hrnet_table4_{row.data}_{row.index}_{('baseline', 'leanblock', 'leema')[row.index - 1]}"
            ] = row
    return found


def fake_run(write_run: Any, cfg: DictConfig, row: Row, **data: Any) -> Run:
    """A finished run of this config on the whole validation set."""
    config = {
        key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "schedule", "loss")
    }
    config["data"] = {"name": cfg.data.name}
    gamma = OmegaConf.select(cfg, "callbacks.gamma_warmup.target")
    config["callbacks"] = {"gamma_warmup": {"target": gamma}}
    protocol = OmegaConf.to_container(cfg.protocol, resolve=True)
    facts = {"name": cfg.data.name, "val": row.persons, "input_size": list(row.input or ())}
    facts |= {"scored_on": row.data} | data
    folder = write_run("run", config=config, data=facts, protocol=protocol)
    text = (folder / "run.json").read_text().replace("PCKh@0.5", row.metric)
    (folder / "run.json").write_text(text)
    return Run(folder)


@pytest.mark.parametrize("experiment", compared())
def test_an_experiment_compares_with_the_row_it_repeats(
    experiment: str, root: Path, write_run: Any
) -> None:
    if not (root / "conf" / "experiment" / f"{experiment}.yaml").is_file():
        pytest.fail(f"conf/experiment/{experiment}.yaml is gone")
    row = compared()[experiment]
    if not (root / "conf" / "data" / f"{row.data}.yaml").is_file():
        pytest.skip(f"conf/data/{row.data}.yaml is not there")
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=[f"experiment={experiment}"])
    sources = [found.source for found in published(fake_run(write_run, cfg, row))]
    assert row.source in sources
    for other in compared().values():
        if other.paper == row.paper and other.data == row.data and other.config != row.config:
            assert other.source not in sources


def test_scores_that_do_not_compare_get_no_difference(write_run: Any) -> None:
    fitting = Run(write_run("lapx", config=LAPX))
    assert {row.source for row in published(fitting)} == {"LAPX, Table 1", "LAPX, Table 3, row 12"}
    assert published(Run(write_run("part of MPII", config=LAPX, data={"val": 40}))) == []
    assert (
        published(Run(write_run("other size", config=LAPX, data={"input_size": [128, 128]}))) == []
    )
    assert published(Run(write_run("dark", config=LAPX, protocol={"decoder": "dark"}))) == []
    flipped = published(Run(write_run("tta", config=LAPX, protocol={"flip": True})))
    assert [row.values["score"] for row in flipped] == [88.6]
    assert published(Run(write_run("synthetic", config=LAPX, data={"name": "synthetic"}))) == []
    narrower = {**LAPX, "model": LAPX["model"] | {"channels": 128}}
    assert published(Run(write_run("narrower", config=narrower))) == []
    # LAPX above has no word of its activation, as runs from before there was one
    for key, paper, other in (
        ("activation", "elu", "relu6"),
        ("expansion", 0.5, 1),
        ("kernel", 3, 5),
    ):
        said = [LAPX | {"model": LAPX["model"] | {key: value}} for value in (paper, other)]
        same, varied = (published(Run(write_run("parts", config=each))) for each in said)
        assert len(same) == 2 and varied == []


def test_mean_deviation_and_difference(write_run: Any) -> None:
    scores = [88.0, 87.9, 88.1]
    runs = [
        Run(
            write_run(
                f"lapx-seed{seed}",
                seed=seed,
                score=score,
                config=LAPX,
                scores={"joint/head": 96.0 + seed},
            )
        )
        for seed, score in enumerate(scores)
    ]
    failed = Run(write_run("lapx-seed3", seed=3, state="failed", config=LAPX))
    found, left = tables([*runs, failed])
    assert left == [failed]
    (table,) = found
    (record,) = table.frame().to_dict("records")
    assert record["mean"] == pytest.approx(88.0)
    assert record["deviation"] == pytest.approx(0.1)
    assert record["head"] == pytest.approx(97.0)
    assert record["seeds"] == "0 1 2"
    assert record["published"] == 87.97
    assert record["difference"] == pytest.approx(0.03)
    text = markdown(found, left)
    assert (
        "| 12 | 3-stage + ECA-CBAM + SG + stem-ECA-CBAM + ECA-NonLocal gamma=0.2 | 2.31M | 2.30M |"
        " 3.44G |" in text
    )
    assert "| 88.00 ± 0.10 | 3 | +0.03 |" in text
    assert "published: LAPX, Table 3, row 12 |  | 2.30M |" in text
    assert "| 87.97 ± 0.06 | 3 |" in text
    assert "lapx-seed3 (failed)" in text
    written = pd.read_csv(io.StringIO(csv(found)))
    assert written["mean"].tolist() == pytest.approx([88.0])
    assert written.columns[0] == "index" and written["index"].tolist() == [12]


def test_protocols_are_never_mixed(write_run: Any) -> None:
    runs = [
        Run(write_run("a", config=LAPX)),
        Run(write_run("b", config=LAPX, protocol={"flip": True})),
    ]
    found, _ = tables(runs)
    assert len(found) == 2
    assert {"no flip" in table.protocol for table in found} == {True, False}
    assert "do not compare" in markdown(found)


def test_a_run_without_a_seed_had_the_first(write_run: Any) -> None:
    runs = [Run(write_run(name, seed=seed, config=LAPX)) for name, seed in (("a", 3), ("b", None))]
    ((table,), _) = tables(runs)
    assert [group.seeds for group in table.groups] == [[0, 3]]


def test_settings_are_not_averaged_as_if_they_were_seeds(write_run: Any) -> None:
    ema = {"ema": {"_target_": "featherpose.training.callbacks.ema.EMA", "decay": 0.99}}
    for other in (
        {"schedule": {"epochs": 20}},
        {"callbacks": {"gamma_warmup": {"target": 0.3}}},
        {"callbacks": LAPX["callbacks"] | ema},
        {"callbacks": LAPX["callbacks"] | {"time_budget": {"seconds": 60}}},
    ):
        found, _ = tables(
            [Run(write_run("a", config=LAPX)), Run(write_run("b", config={**LAPX, **other}))]
        )
        assert [len(group.runs) for group in found[0].groups] == [1, 1]
    for other in (
        {"logger": {"csv": {}}},
        {"logger": {}},
        {"callbacks": LAPX["callbacks"] | {"previews": None}},
        {"callbacks": LAPX["callbacks"] | {"previews": {"every": 1}}},
    ):
        found, _ = tables(
            [Run(write_run("a", config=LAPX)), Run(write_run("b", config={**LAPX, **other}))]
        )
        assert [len(group.runs) for group in found[0].groups] == [2]


def test_a_copy_of_a_run_is_no_second_seed(write_run: Any) -> None:
    runs = [Run(write_run(name, score=80.0, config=LAPX)) for name in ("a", "copy")]
    found, left = tables(runs)
    text = markdown(found, left)
    assert "80.00 ±" not in text
    assert "Runs of a repeat a seed, or one is a copy: no deviation over seeds." in text
    other = Run(write_run("b", score=82.0, seed=1, config=LAPX))
    text = markdown(*tables([runs[0], other]))
    assert "81.00 ± 1.41" in text
    assert "± is the sample standard deviation over seeds." in text


def test_seeds_on_other_hardware_are_one_row(write_run: Any) -> None:
    cpu = {**LAPX, "trainer": {"accelerator": "cpu", "devices": 1}}
    gpus = {
        **LAPX,
        "trainer": {"accelerator": "gpu", "devices": 2, "strategy": "ddp", "num_nodes": 2},
    }
    found, _ = tables([Run(write_run("a", config=cpu)), Run(write_run("b", seed=1, config=gpus))])
    assert [group.seeds for group in found[0].groups] == [[0, 1]]
    bf16 = {**LAPX, "trainer": {**cpu["trainer"], "precision": "bf16-mixed"}}
    found, _ = tables([Run(write_run("a", config=cpu)), Run(write_run("b", config=bf16))])
    assert len(found[0].groups) == 2, "another arithmetic is another result"


def test_latex_is_escaped_and_balanced(write_run: Any) -> None:
    found, left = tables(
        [Run(write_run("a_b%", score=88.0)), Run(write_run("c", score=70.0, seed=1))]
    )
    text = latex(found, left)
    assert r"a\_b\%" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = len(text.split(r"\begin{tabular}{")[1].split("}")[0])
    assert {line.count(" & ") + 1 for line in body} == {columns}
    assert text.count(r"\begin") == text.count(r"\end") == 2


def changed(config: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The config with other values at dotted names, dots written as two underscores."""
    new = copy.deepcopy(config)
    for key, value in values.items():
        *path, last = key.split("__")
        place = new
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return new


def differs(write_run: Any, **keys: Any) -> tuple[str, str]:
    """The nearest row's source, and what differs."""
    match = nearest(Run(write_run("run", **keys)))
    assert match is not None
    assert not match.repeats
    return match.row.source, "; ".join(match.differs)


REPOSE = {
    "model": {
        "_target_": "featherpose.models.repose.RePose", "levels": 3, "stages": 1, "update_blocks": 4,
        "update": "trainable", "updates": "kinematic", "order": "hips_first", "heatmaps": "independent",
    },
    "data": {"name": "lsp_mpii"},
    "schedule": {"unit": "step", "steps": 2_000_000},
    "loss": {"reduction": "repose", "sigma": 5.0},
}  # fmt: skip
ON_LSP = {
    "data": {"name": "lsp_mpii", "scored_on": "lsp", "val": 1000, "input_size": [128, 128]},
    "protocol": {"mean": "unweighted"},
}


def as_metric(folder: Path, metric: str) -> Run:
    record = (folder / "run.json").read_text().replace("PCKh@0.5", metric)
    (folder / "run.json").write_text(record)
    return Run(folder)


def test_one_epoch_repeats_no_row(write_run: Any) -> None:
    source, what = differs(write_run, config=changed(LAPX, schedule__epochs=1))
    assert source.startswith("LAPX, Table")
    assert what == "schedule.epochs 1, not 200"


def test_another_loss_repeats_no_row(write_run: Any) -> None:
    _, what = differs(write_run, config=changed(LAPX, loss__reduction="le_hrnet"))
    assert what == "loss.reduction le_hrnet, not lapx"


def test_training_on_other_people_repeats_no_row(write_run: Any) -> None:
    _, what = differs(write_run, config=changed(LAPX, data__name="lsp_mpii"))
    assert what == "data.name lsp_mpii, not mpii"


def test_weights_from_elsewhere_repeat_no_row(write_run: Any) -> None:
    _, what = differs(write_run, config=changed(LAPX, init="runs/train/other"))
    assert what == "started from other weights"


def test_each_sigma_of_repose_is_its_own_row(write_run: Any) -> None:
    """`repose_table7_input_128_sigma_10` scores its printed figure: no difference, and no other row's."""
    wide = changed(REPOSE, loss__sigma=10.0)
    run = as_metric(write_run("sigma 10", config=wide, score=90.25, **ON_LSP), "PCK@0.2")
    assert [row.method for row in published(run)] == ["128x128, sigma 10"]
    found, _ = tables([run])
    assert found[0].frame()["difference"].tolist() == [pytest.approx(0.0)]
    run = as_metric(write_run("sigma 5", config=REPOSE, score=91.66, **ON_LSP), "PCK@0.2")
    assert "128x128, sigma 10" not in [row.method for row in published(run)]
    assert "RePose" in [row.method for row in published(run)]


def test_a_weighted_mean_is_not_repose_s(write_run: Any) -> None:
    keys = ON_LSP | {"protocol": {"mean": "weighted"}}
    match = nearest(as_metric(write_run("run", config=REPOSE, **keys), "PCK@0.2"))
    assert match is not None
    assert match.differs == ("mean weighted, not unweighted",)


LE_HRNET = {
    "model": {
        "_target_": "featherpose.models.hrnet.HRNet", "channels": 32, "block": "leema", "scope": "all",
        "modules": [1, 4, 3], "blocks": 4,
    },
    "schedule": {"unit": "epoch", "epochs": 300},
    "loss": {"reduction": "le_hrnet", "sigma": 2.0},
    "data": {"name": "coco"},
}  # fmt: skip
ON_COCO = {"name": "coco", "val": 6352, "input_size": [256, 192]}


def test_a_score_on_few_people_repeats_no_row_of_coco(write_run: Any) -> None:
    whole = as_metric(write_run("all", config=LE_HRNET, data=ON_COCO), "AP")
    assert "LE-HRNet, Table 1" in [row.source for row in published(whole)]
    assert "LE-HRNet, Table 2" not in [row.source for row in published(whole)]  # the test set
    few = as_metric(write_run("few", config=LE_HRNET, data=ON_COCO | {"val": 109}), "AP")
    match = nearest(few)
    assert match is not None
    assert match.differs == ("persons 109, not 6352",)


def test_scopes_are_two_networks(write_run: Any) -> None:
    other = changed(LE_HRNET, model__scope="branches")
    match = nearest(as_metric(write_run("run", config=other, data=ON_COCO), "AP"))
    assert match is not None
    assert match.differs == ("model.scope branches, not all",)


def test_peers_are_never_said_to_repeat_their_papers(write_run: Any) -> None:
    model = {"_target_": "featherpose.models.peers.lpn.LPN", "blocks": [3, 4, 6, 3]}
    keys = {"data": ON_COCO, "protocol": {"flip": True, "boxes": "detections"}}
    run = as_metric(write_run("lpn", config=changed(LE_HRNET, model=model), **keys), "AP")
    assert published(run) == []
    match = nearest(run)
    assert match is not None
    assert match.row.method == "LPN"
    assert match.differs == (OWN_RECIPE,)
    text = markdown(tables([run])[0])
    assert OWN_RECIPE in text


def test_every_network_of_the_project_that_a_paper_lists_is_named_in_its_row() -> None:
    named = [row for row in rows() if row.config is not None and row.recipe]
    assert len(named) == PEERS


def test_coco_s_tables_have_coco_s_columns(write_run: Any) -> None:
    scores = {
        "AP50": 91.0,
        "AP75": 80.0,
        "AP(M)": 70.0,
        "AP(L)": 77.0,
        "AR": 76.5,
        "joint/nose": 99.0,
    }
    run = as_metric(
        write_run("run", config=LE_HRNET, data=ON_COCO, scores=scores, score=74.5), "AP"
    )
    head, (ours, printed) = tables([run])[0][0].cells()
    assert head[2:] == [
        *("#Params", "thop's", "MACs", "AP50", "AP75", "AP(M)", "AP(L)", "AR"),
        *("Total", "Runs", "Difference"),
    ]
    assert ours[5:11] == ["91.00", "80.00", "70.00", "77.00", "76.50", "74.50"]
    assert printed[5:11] == ["91.90", "80.50", "70.60", "77.40", "77.10", "74.00"]
    assert "not stated: flip test, boxes" in printed[1]


def test_later_evaluations_are_rows_too(write_run: Any) -> None:
    """LAPX's Table 1, both rows, from one training: validated without the flip test, evaluated with it."""
    folder = write_run("lapx", config=LAPX, score=88.0)
    own = Run(folder).own_score
    flipped = replace(own, values={"score": 88.7}, protocol=own.protocol | {"flip": True})
    flipped.write(folder)
    replace(flipped, epoch=77, values={"score": 3.0}, data="coco").write(folder)  # of an older best
    found, _ = tables([Run(folder)])
    differences = {t.protocol.split(", ")[3]: t.frame()["difference"].item() for t in found}
    assert differences == {
        "no flip": pytest.approx(0.03),
        "flip + shift": pytest.approx(0.1),
    }


def test_the_same_evaluation_again_takes_the_first_one_s_place(write_run: Any) -> None:
    folder = write_run("lapx", config=LAPX)
    own = Run(folder).own_score
    for value in (88.6, 88.7):
        replace(own, values={"score": value}, protocol=own.protocol | {"flip": True}).write(folder)
    assert [score.value for score in Run(folder).all_scores] == [80.0, 88.7]
    own.write(folder)  # what training itself measured is no second run
    assert [len(g.runs) for t in tables([Run(folder)])[0] for g in t.groups] == [1, 1]


def test_steps_to_a_score_are_a_column(write_run: Any) -> None:
    """As RePose says of its stacked networks; over seeds the mean of those that got there."""
    config = changed(LAPX, schedule__epochs=3)
    folders = [write_run("lapx", seed=seed, config=config) for seed in range(3)]
    curves = [(20.0, 31.0, 35.0), (31.0, 20.0, 40.0), (5.0, 6.0, 7.0)]
    for folder, scores in zip(folders, curves, strict=True):
        rows = [f"{n},{100 * n + 99},{score}\n" for n, score in enumerate(scores)]
        (folder / "metrics.csv").write_text("epoch,step,val/score\n" + "".join(rows))
    own = Run(folders[0]).own_score
    replace(own, protocol=own.protocol | {"flip": True}).write(folders[0])
    found, _ = tables([Run(folder) for folder in folders], [30, 99])
    head, (ours, *_) = found[0].cells()
    assert ours[head.index("Steps to 30")] == "150 (2 of 3)"
    assert ours[head.index("Steps to 99")] == ""
    assert found[0].frame()["steps_to_30"].item() == 150
    head, (flipped, *_) = found[1].cells()  # training has no curve of it
    assert flipped[head.index("Steps to 30")] == ""
    for text in (markdown(found), latex(found)):
        assert "first validation in training" in text


def test_scores_of_another_arithmetic_stand_in_another_table(write_run: Any) -> None:
    runs = [Run(write_run(kind, config=LAPX, precision=kind)) for kind in ("32-true", "bf16-mixed")]
    assert len(tables(runs)[0]) == 2


def test_the_docs_say_how_many_rows_of_each_table_can_be_filled(root: Path) -> None:
    counts: dict[tuple[str, str], list[int]] = {}
    for row in rows():
        several = row.paper == "RePose" and row.table not in "12"
        table = f"{row.paper}, {'3 to 7 and text' if several else row.table}"
        count = counts.setdefault((table, f"{row.data} {row.split}"), [0, 0, 0])
        count[0] += 1
        if row.config:
            count[2 if row.recipe else 1] += 1
    text = (root / "docs" / "tracking.md").read_text()
    said = re.findall(r"^\| ([^|]+) \| (\w+ \w+) \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert {(table, data): [int(n) for n in numbers] for table, data, *numbers in said} == counts
