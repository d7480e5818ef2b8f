"""people17 as a dataset: who learns from whom, how often, and what there is without a pack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.packs import pack_path, region
from featherpose.data.readers import people17
from featherpose.errors import PoseError
from featherpose.metrics.oks import OKS

from ..test_packs import encoded, painted_set


def test_a_person_is_a_region_of_its_own(tmp_path):
    columns = painted_set(tmp_path)
    people = people17.read(tmp_path, "train")
    assert [person.image_id for person in people.persons] == [0, 1, 3, 4]  # 2 and 5 validate
    person = people.persons[1]
    assert person.picture_size == (48, 64)
    np.testing.assert_allclose(person.joints, columns.joints[1])
    np.testing.assert_allclose(person.scale, [48 / 250, 64 / 250], rtol=1e-6)
    np.testing.assert_array_equal(people17.load(person), region(person.image))


def test_validation_asks_humans_alone(tmp_path):
    painted_set(tmp_path)
    people = people17.read(tmp_path, "val", weights={"lspet": 2})
    assert len(people.persons) == 2
    assert all(person.visible.tolist() == [2] * 12 + [0] * 5 for person in people.persons)


def test_the_teacher_can_be_left_out_or_be_asked_to_be_sure(tmp_path):
    columns = painted_set(tmp_path)
    alone = people17.read(tmp_path, "train", teacher=False)
    assert all(person.visible[12:].max() == 0 for person in alone.persons)
    sure = people17.read(tmp_path, "train", least_confidence=0.5)
    for person in sure.persons:
        expected = np.where(columns.confidence[person.image_id, 12:] >= 0.5, 2, 0)
        assert person.visible[12:].tolist() == expected.tolist()
        assert person.visible[:12].min() == 2  # what humans said stays


def test_weights_repeat_and_thin_out(tmp_path):
    painted_set(tmp_path, people=24)
    count = {
        name: sum(columns == name for columns in painted_sources(tmp_path, weights))
        for name, weights in (("lspet", {"lspet": 2.5}), ("mpii", {"mpii": 0.5}))
    }
    assert count == {"lspet": 20, "mpii": 4}  # of 8 each
    assert painted_sources(tmp_path, {"lspet": 0}) == ["mpii"] * 8
    assert (
        len(painted_sources(tmp_path, {"ccp": 2})) == 16
    )  # nobody's here, as in a set built without it
    with pytest.raises(PoseError, match="the sources are lspet, mpii"):
        people17.read(tmp_path, "train", weights={"coco": 1})
    with pytest.raises(PoseError, match="can be 0 or more"):
        people17.read(tmp_path, "train", weights={"mpii": -1})


def test_one_source_alone_is_learned_from_and_scored(tmp_path):
    painted_set(tmp_path, people=24)
    names = people17.read_index(tmp_path).source
    everybody = people17.read(tmp_path, "val").persons
    for split in ("train", "val"):
        people = people17.read(tmp_path, split, sources=["lspet"]).persons
        assert {str(names[person.image_id]) for person in people} == {"lspet"}
    assert 0 < len(people) < len(everybody)
    assert len(people17.read(tmp_path, "val", sources="lspet").persons) == len(people)
    with pytest.raises(
        PoseError, match=r"data\.read\.sources names 'lsp'; the sources are lspet, mpii"
    ):
        people17.read(tmp_path, "val", sources=["lsp"])


def painted_sources(folder, weights) -> list[str]:
    people = people17.read(folder, "train", weights=weights).persons
    names = people17.read_index(folder).source
    return [str(names[person.image_id]) for person in people]


def test_people_of_absent_packs_are_counted(tmp_path):
    columns = painted_set(tmp_path, most=3 * len(encoded(0, (60, 80))))
    pack_path(tmp_path, 1).unlink()
    people = people17.read(tmp_path, "train")
    lost = int(((columns.pack == 1) & (columns.split == "train")).sum())
    assert lost > 0
    assert people.skipped == {"in a pack that is not there": lost}
    assert len(people.persons) == 4 - lost


def test_nothing_there(tmp_path):
    with pytest.raises(PoseError, match="build_people17"):
        people17.read(tmp_path / "nowhere", "train")
    with pytest.raises(PoseError, match=r"no index\.npz"):
        people17.read(tmp_path, "train")


def test_the_trainer_crops_from_regions(tmp_path):
    painted_set(tmp_path)
    data = PoseDataModule(
        name="people17",
        skeleton="coco",
        read=people17.read,
        load=people17.load,
        metric=OKS,
        root=tmp_path,
        input_size=(64, 48),
        batch_size=4,
        workers=0,
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 64, 48)
    assert batch["visible"].sum() > 0
    metric = data.metric(data.val_people.persons)  # each person is a picture of its own
    truth = [person.joints for person in data.val_people.persons]
    metric.update(torch.arange(2), torch.tensor(np.array(truth)), torch.ones(2, 17))
    assert metric.compute()["AP"] == pytest.approx(100)


def test_without_the_folder_its_builder_is_named(tmp_path):
    says = r"missing \(.* is not there\)\. Build it with: python scripts/build_people17\.py .*; or set data\.root"
    with pytest.raises(PoseError, match=says):
        people17.read(tmp_path / "none", "train")
