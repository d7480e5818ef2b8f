"""Tables in the papers' layout, and the papers' own rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from featherpose.runs.folder import Run
from featherpose.runs.published import Row, published, rows, rows_frame
from featherpose.runs.table import csv, latex, markdown, tables

LAPX = {
    "model": {
        "stages": 3,
        "channels": None,
        "depth": 4,
        "soft_gate": True,
        "stem_attention": "eca_cbam",
        "stage_attention": "eca_cbam",
        "neck": "eca_nonlocal_at_ends",
    },
    "callbacks": {"gamma_warmup": {"target": 0.2}},
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
    config = {key: OmegaConf.to_container(cfg[key], resolve=False) for key in ("model",)}
    gamma = OmegaConf.select(cfg, "callbacks.gamma_warmup.target")
    config["callbacks"] = {"gamma_warmup": {"target": gamma}}
    protocol = OmegaConf.to_container(cfg.protocol, resolve=True)
    facts = {"name": cfg.data.name, "val": row.persons, "input_size": list(row.input or ())} | data
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
        "| 12 | 3-stage + ECA-CBAM + SG + stem-ECA-CBAM + ECA-NonLocal gamma=0.2 | 2.31M | 3.44G |"
        in text
    )
    assert "| 88.00 ± 0.10 | 3 | +0.03 |" in text
    assert "published: LAPX, Table 3, row 12 | 2.30M |" in text
    assert "| 87.97 ± 0.06 | 3 |" in text
    assert "lapx-seed3 (failed)" in text
    assert pd.read_csv(io.StringIO(csv(found)))["mean"].tolist() == pytest.approx([88.0])


def test_protocols_are_never_mixed(write_run: Any) -> None:
    runs = [
        Run(write_run("a", config=LAPX)),
        Run(write_run("b", config=LAPX, protocol={"flip": True})),
    ]
    found, _ = tables(runs)
    assert len(found) == 2
    assert {"no flip" in table.protocol for table in found} == {True, False}
    assert "do not compare" in markdown(found)


def test_settings_are_not_averaged_as_if_they_were_seeds(write_run: Any) -> None:
    for other in ({"schedule": {"epochs": 20}}, {"callbacks": {"gamma_warmup": {"target": 0.3}}}):
        found, _ = tables(
            [Run(write_run("a", config=LAPX)), Run(write_run("b", config={**LAPX, **other}))]
        )
        assert [len(group.runs) for group in found[0].groups] == [1, 1]
    for other in (
        {"logger": {"csv": {}}},
        {"callbacks": LAPX["callbacks"] | {"previews": {"every": 1}}},
    ):
        found, _ = tables(
            [Run(write_run("a", config=LAPX)), Run(write_run("b", config={**LAPX, **other}))]
        )
        assert [len(group.runs) for group in found[0].groups] == [2]


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
