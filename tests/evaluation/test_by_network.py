"""A network's score on a sample of a dataset's people."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from torch.utils.data import DataLoader

from featherpose.data.datamodule import PoseDataModule
from featherpose.evaluation.by_network import SampleScore, predict, score_sample
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output
from featherpose.metrics.oks import OKS, truth_of_persons
from featherpose.metrics.pck import PCKh
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII
from featherpose.synthetic import painted

SIZE = (64, 64)


class Perfect:
    """Knows where the joints are: what must score 100."""

    description = Description(MPII, SIZE, 1, Protocol(decoder="argmax"))

    def __init__(self, data: PoseDataModule, off: int = 0) -> None:
        dataset = data.val_dataset()
        self.off = off
        self.joints = {
            dataset[i]["image"].numpy().tobytes(): dataset[i]["joints"].numpy()
            for i in range(len(dataset))
        }

    def __call__(self, crops: np.ndarray) -> list[Output]:
        maps = np.zeros((len(crops), len(MPII), *SIZE), np.float32)
        for row, image in enumerate(crops):
            places = (self.joints[image.tobytes()].round().astype(int) + self.off).clip(0, 63)
            maps[row, np.arange(len(MPII)), places[:, 1], places[:, 0]] = 1
        return [Heatmaps(maps, 1)]


@pytest.fixture
def data() -> PoseDataModule:
    data = PoseDataModule(
        "synthetic",
        "mpii",
        partial(painted.read, people={"train": 2, "val": 7}),
        painted.load,
        PCKh,
        input_size=SIZE,
        workers=0,
    )
    data.setup("validate")
    return data


def test_a_sample_is_scored_in_picture_coordinates(data: PoseDataModule) -> None:
    found = score_sample(Estimator(Perfect(data)), data, 5)
    assert found == SampleScore("PCKh@0.5", 100.0, 5)
    worse = score_sample(Estimator(Perfect(data, off=30)), data, 5)
    assert worse.score < 50
    gain = worse.against(found)
    assert gain is not None and gain.value == worse.score - 100 and not gain.noise
    assert worse.interval is not None and worse.interval.low <= worse.score <= worse.interval.high
    assert worse.against(SampleScore("AP", 100.0, 5)) is None


def test_people_who_are_not_in_the_sample_are_not_looked_for(data: PoseDataModule) -> None:
    """AP counts everybody of its annotations: of a sample these are the sample's."""
    everybody = data.val_people.persons
    data.metric = partial(OKS, skeleton=data.skeleton, truth=lambda: truth_of_persons(everybody))
    found = score_sample(Estimator(Perfect(data)), data, 3)
    assert (round(found.score, 6), found.persons) == (100, 3)
    assert data.new_metric().official_truth().keypoints.shape[0] == len(everybody)


def test_people_of_all_batches_stand_one_after_the_other(data: PoseDataModule) -> None:
    found = predict(Estimator(Perfect(data)), DataLoader(data.val_dataset(), batch_size=3), True)
    assert found.index.tolist() == list(range(7))
    assert found.keypoints.shape == (1, 7, len(MPII), 2)
    assert found.confidence.shape == (1, 7, len(MPII)) and (found.confidence == 1).all()
