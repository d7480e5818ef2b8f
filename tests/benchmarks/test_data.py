"""The loading benchmark compares like with like; its times are for people, not for tests."""

from __future__ import annotations

import csv

import numpy as np
import torch

from featherpose.benchmarks import data as benchmark
from featherpose.data.augment import Augment
from featherpose.data.dataset import CropDataset
from featherpose.data.readers import coco
from featherpose.heatmaps import encode
from featherpose.image import load
from featherpose.skeletons import COCO


def test_both_paths_give_the_same_pixels_joints_and_targets(real_data):
    people = coco.read(real_data / "coco", "train")
    augment = Augment((0.65, 1.35), 45.0, flip=0.5)
    plain = benchmark.Straightforward(people, (192, 256), augment)
    ours = CropDataset(people, load, COCO, (256, 192), augment)
    for index in range(0, 349, 12):
        sample = ours[(1, index)]
        plain.exact = True
        image, joints, visible = plain.crop(people.persons[index], *benchmark.drawn(ours))
        assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), image)
        seen = sample["visible"].numpy() > 0
        np.testing.assert_allclose(sample["joints"].numpy()[seen], joints[seen], atol=1e-3)
        expected, weights = benchmark.loop_targets(joints / 4, visible, (64, 48), 2.0)
        targets, ours_weights = encode(
            torch.from_numpy(joints / 4)[None].float(),
            torch.from_numpy(visible)[None],
            (64, 48),
            2.0,
        )
        np.testing.assert_allclose(targets[0].numpy(), expected, atol=1e-6)
        np.testing.assert_array_equal(ours_weights[0].numpy(), weights)


def test_runs_and_writes_what_it_measured(tiny_coco, tmp_path, capsys):
    benchmark.run(
        str(tiny_coco),
        rounds=1,
        samples=240,
        batch_size=3,
        workers=1,
        out=str(tmp_path / "out/data.csv"),
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert "Pixels differ by at most 0 levels" in printed
    assert "The cache changes no pixel" in printed
    rows = dict(csv.reader((tmp_path / "out/data.csv").open()))
    assert float(rows["featherpose: read and decode"]) > 0
    assert float(rows["straightforward: ratio"]) == 1
