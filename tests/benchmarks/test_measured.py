"""Rows of rounds, the JSON file that holds them, its tables, and every benchmark in one file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from featherpose.benchmarks import all as everything
from featherpose.benchmarks import measured
from featherpose.benchmarks.measured import Measured
from featherpose.cli import benchmark
from featherpose.errors import PoseError, UsageError
from featherpose.machine import cores
from featherpose.place import CONF

ROWS = [
    Measured("ours", "ms", [3.0, 1.0, 2.0], "theirs", [12.0, 2.0, 6.0], {"height": 64}),
    Measured("theirs", "ms", [12.0, 2.0, 6.0]),
    Measured("large", "ms", [1234.5]),
]


def test_a_row_is_median_quartiles_and_the_ratio_of_the_same_rounds() -> None:
    row = ROWS[0].row()
    assert (row["median"], row["low"], row["high"], row["rounds"]) == (2.0, 1.5, 2.5, 3)
    assert row["beside"] == "theirs" and row["beside_median"] == 6.0
    assert row["ratio"] == pytest.approx(
        1 / 3
    )  # of 1/4, 1/2 and 1/3; of the medians it is the same by chance
    assert row["facts"] == {"height": 64}
    assert "ratio" not in ROWS[1].row() and "facts" not in ROWS[1].row()
    crossed = Measured("", "ms", [1.0, 10.0, 4.0], "b", [1.0, 2.0, 40.0]).row()
    assert crossed["ratio"] == 1.0  # of 1, 5 and 0.1; the medians' would be 2


def test_the_file_says_when_where_and_with_what(tmp_path: Path) -> None:
    found = measured.begin()
    found["parts"].append(
        measured.part("mine", ROWS, command="benchmark mine", seconds=3.2, load=[0.5, None])
    )
    measured.write(found, tmp_path / "new" / "all.json")
    again = measured.read(tmp_path / "new" / "all.json")
    assert again == json.loads(json.dumps(found))
    assert again["versions"]["torch"] and again["started"]
    found["parts"][0]["load"] = [0.5, 1.25]
    found["parts"].append(
        {
            "name": "other",
            "command": "benchmark other",
            "failed": "it ended with code 1",
            "rows": [],
        }
    )
    lines = measured.tables(found).splitlines()
    assert f"{cores()} cores with {torch.backends.cpu.get_cpu_capability()}, " in lines[2]
    assert "| ours | 2 ms | 1.5 to 2.5 | theirs: 6 | 0.333 |" in lines
    assert "| large | 1,234 ms | once |  |  |" in lines
    assert (
        "3 s, load 0.5 before and 1.25 at the end." in lines
        and "It failed: it ended with code 1" in lines
    )


@pytest.mark.parametrize("kind", ["avx2", "avx512"])
def test_the_page_of_the_docs_is_made_from_the_file_beside_it(root: Path, kind: str) -> None:
    folder = root / "docs" / "measured" / kind
    found = measured.read(folder / "benchmarks.json")
    assert (folder / "benchmarks.md").read_text(encoding="utf-8") == measured.tables(found)
    parts = OmegaConf.load(CONF / "benchmark" / "all.yaml").parts
    assert [part["name"] for part in found["parts"]] == [
        name for name in parts if parts[name] is not None
    ]
    assert all(part["rows"] and "failed" not in part for part in found["parts"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "There is no file"),
        ("{", "is not JSON"),
        ("[]", "no"),
        ('{"schema": 7, "parts": []}', "schema 1"),
    ],
)
def test_another_file_is_refused_in_one_sentence(
    tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "all.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PoseError, match=says):
        measured.read(path)


@pytest.mark.slow
def test_a_benchmark_writes_its_rows_as_json(root: Path, python: str, tmp_path: Path) -> None:
    """With the words that people type."""
    few = "evaluation rounds=2 people=6 persons=60 detections=400".split()
    file = tmp_path / "rows.json"
    subprocess.run([python, "src/benchmark.py", *few, f"json={file}"], cwd=root, check=True)
    (part,) = measured.read(file)["parts"]
    assert part["name"] == "evaluation" and len(part["rows"]) == 3
    assert {row["beside"] for row in part["rows"]} == {"the reference"}
    assert all(row["rounds"] == 2 and row["ratio"] > 0 for row in part["rows"])


def test_a_benchmark_without_rounds_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    keys = {
        "_target_": "featherpose.benchmarks.sizes.run",
        "only": "lapx_table1*",
        "json": "rows.json",
    }
    with pytest.raises(UsageError, match="no rows of rounds"):
        benchmark.main(OmegaConf.create(keys))


@pytest.mark.slow
def test_everything_in_one_file_and_what_fails_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = {
        "evaluation": "rounds=1 people=6 persons=60 detections=400".split(),
        "data": [f"root={tmp_path / 'nowhere'}"],
        "latency": None,
    }
    out = tmp_path / "out"
    with pytest.raises(PoseError, match="Not measured: data"):
        everything.run(parts, out=str(out))
    assert "nowhere" in capfd.readouterr().err
    good, bad = measured.read(out / "benchmarks.json")["parts"]
    assert (
        len(good["rows"]) == 3 and "failed" not in good and "evaluation rounds=1" in good["command"]
    )
    assert bad["failed"].startswith("it ended with code") and bad["rows"] == []
    page = (out / "benchmarks.md").read_text()
    assert "## evaluation" in page and "It failed" in page
    # One part again: the others stay; those of another machine are not mixed in
    good |= {"commit": "a" * 40 + "+", "started": "2026-01-02T03:04:05"}
    measured.write(measured.begin() | {"parts": [good, bad]}, out / "benchmarks.json")
    with pytest.raises(PoseError, match="Not measured: data"):
        everything.run(parts, only="data", out=str(out))
    assert measured.read(out / "benchmarks.json")["parts"][0] == good
    assert "; commit aaaaaaaaa+; 2026-01-02." in (out / "benchmarks.md").read_text()
    elsewhere = measured.begin() | {"machine": {"cores": 512}, "parts": [good]}
    measured.write(elsewhere, out / "benchmarks.json")
    with pytest.raises(PoseError, match="another machine"):
        everything.run(parts, only="data", out=str(out))
    assert measured.read(out / "benchmarks.json") == elsewhere
    with pytest.raises(UsageError, match="the parts are evaluation, data, latency"):
        everything.run(parts, only="speed", out=str(out))


def test_every_part_is_a_benchmark_whose_config_takes_its_options() -> None:
    parts = OmegaConf.load(CONF / "benchmark" / "all.yaml")["parts"]
    for name, words in parts.items():
        keys = OmegaConf.load(CONF / "benchmark" / f"{name}.yaml")
        assert {word.partition("=")[0] for word in words or []} <= set(keys), name
