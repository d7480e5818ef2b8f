"""The benchmark's references are the oracle here: on few people both sides have to give the same."""

from __future__ import annotations

import csv

from featherpose.benchmarks import evaluation


def test_here_and_the_references_agree(tmp_path, capsys):
    evaluation.run(
        rounds=1, people=6, persons=60, detections=400, seed=3, out=str(tmp_path / "out.csv")
    )
    with (tmp_path / "out.csv").open() as file:
        decoding, precision, suppression = csv.DictReader(file)
    assert float(decoding["answers"].split()[1]) < 1e-9
    assert float(precision["answers"].split()[-1]) < 1e-9
    assert suppression["answers"].startswith("the same")
    assert int(suppression["answers"].split()[2]) < 400
    assert "ratio" in capsys.readouterr().out
