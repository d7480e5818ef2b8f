"""Regions on the device: the crops, joints and order of the ordinary data path, and runs that train on them."""

from __future__ import annotations

from functools import partial

import albumentations as A
import numpy as np
import pytest
import torch

from featherpose import crop, image
from featherpose.data import cache, device
from featherpose.data.augment import Augment
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.data.readers import coco
from featherpose.errors import PoseError
from featherpose.metrics.oks import OKS
from featherpose.skeletons import COCO

SIZE = (96, 72)
WH = (72, 96)
WILD = {"scale": (0.65, 1.35), "rotation": 60.0, "rotation_probability": 0.8, "flip": 0.5}


def people_of(root):
    """Some inside their picture, some that reach over its edges."""
    people = coco.read(root, "train")
    for i, person in enumerate(people.persons):
        person.scale[:] *= 0.4 + 0.2 * i
        person.centre[:] += 4 * i
    return people


def crops_of(root, augment=None, seed=0):
    people = people_of(root)
    planned = cache.plan(people, image.load, COCO, WH, augment)
    pixels = device.to_device(planned, image.load, torch.device("cpu"))
    return people, device.DeviceCrops(people, pixels, planned, COCO, WH, augment, seed)


def test_plain_crops_are_those_of_the_dataset_to_the_bit(tiny_coco):
    people, crops = crops_of(tiny_coco)
    ordinary = CropDataset(people, image.load, COCO, SIZE)
    batch = crops.batch(torch.arange(len(crops)))
    for row in range(len(crops)):
        for key, expected in ordinary[row].items():
            found = batch[key][row]
            if key == "matrix":
                torch.testing.assert_close(found, expected)
            else:
                assert torch.equal(found, torch.as_tensor(expected)), key


def test_augmented_crops_are_cut_from_the_whole_picture_by_the_same_matrix(tiny_coco):
    people, crops = crops_of(tiny_coco, Augment(**WILD))
    flips = 0
    for epoch in range(20):
        index = torch.arange(len(crops))
        batch = crops.batch(index, crops.draws(epoch)[index])
        for row, person in enumerate(people.persons):
            matrix = batch["matrix"][row].numpy()
            expected = crop.cut(image.load(person), matrix, WH)
            found = batch["image"][row].permute(1, 2, 0).numpy()
            assert np.abs(found.astype(int) - expected).max() <= 1

            flipped = np.linalg.det(matrix[:, :2]) < 0
            flips += flipped
            order = list(COCO.flip_order) if flipped else slice(None)
            known = person.visible[order] > 0
            points = crop.apply(matrix, np.where(known[:, None], person.joints[order], 0.0))
            assert np.array_equal(batch["visible"][row].numpy(), known)
            np.testing.assert_allclose(
                batch["joints"][row].numpy()[known], points[known], atol=1e-3
            )
    assert 40 < flips < 80  # of 120


def test_matrices_are_those_of_the_crop_module():
    rng = np.random.default_rng(1)
    centre, scale = rng.uniform(50, 200, (40, 2)), rng.uniform(0.2, 2, (40, 2))
    rotation, flip = rng.uniform(-180, 180, 40), rng.random(40) < 0.5
    width = [crop.fit_aspect(s, WH)[0] * crop.PIXEL_STD for s in scale]
    tensors = [torch.tensor(np.array(x)) for x in (centre, width)]
    found = device.crop_matrices(*tensors, WH, torch.tensor(rotation), torch.tensor(flip))
    for row in range(40):
        expected = crop.crop_matrix(centre[row], scale[row], WH, rotation[row], bool(flip[row]))
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-9)


def test_draws_fill_the_ranges_and_belong_to_the_person(tiny_coco):
    _, crops = crops_of(tiny_coco, Augment(**WILD))
    index = torch.arange(6)
    zooms, angles = [], []
    for epoch in range(100):
        matrix = crops.batch(index, crops.draws(epoch))["matrix"]
        plain = WH[0] / crops.width
        zooms += (plain / torch.linalg.det(matrix[:, :, :2]).abs().sqrt()).tolist()
        angles += torch.rad2deg(torch.atan2(matrix[:, 0, 1], matrix[:, 1, 1])).tolist()
    assert 0.65 <= min(zooms) < 0.67 and 1.33 < max(zooms) <= 1.35
    assert -60 <= min(angles) < -57 and 57 < max(angles) <= 60
    assert 0.1 < np.mean(np.array(angles) == 0) < 0.3
    assert torch.equal(crops.draws(3), crops.draws(3))
    assert not torch.equal(crops.draws(3), crops.draws(4))


def test_jitter_is_albumentations_own_to_a_grey_level(tiny_coco):
    change = A.RandomBrightnessContrast((-0.2, 0.3), (-0.4, 0.1), p=1.0)
    people, crops = crops_of(tiny_coco, Augment(colour=[change], flip=0.0))
    index, draws = torch.arange(6), torch.zeros(6, 7, dtype=torch.float64)
    draws[:, 5], draws[:, 6] = 0.25, 0.75  # contrast -0.275, brightness 0.175
    found = crops.batch(index, draws)["image"]
    plain = CropDataset(people, image.load, COCO, SIZE)
    for row in range(6):
        expected = A.RandomBrightnessContrast((0.175, 0.175), (-0.275, -0.275), p=1.0)(
            image=plain[row]["image"].permute(1, 2, 0).numpy()
        )["image"]
        assert (found[row].permute(1, 2, 0).int() - torch.tensor(expected).int()).abs().max() <= 1


@pytest.mark.parametrize(
    "augment", [Augment(half_body=0.3), Augment(colour=[A.GaussNoise()])], ids=["half", "noise"]
)
def test_what_the_device_cannot_do_is_a_sentence(tiny_coco, augment):
    with pytest.raises(PoseError, match=r"data\.cache=device .*data\.cache=crops"):
        module_of(tiny_coco, augment=augment).train_dataloader()


def test_too_little_memory_is_a_sentence_with_the_size(tiny_coco, monkeypatch):
    monkeypatch.setattr(device, "free_memory", lambda _: 1000)
    with pytest.raises(PoseError, match=r"6 regions.* only 0.0 MB are free.*data\.cache=crops"):
        module_of(tiny_coco).train_dataloader()


def test_its_size_is_said_in_one_line(tiny_coco, capsys):
    module_of(tiny_coco).train_dataloader()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Regions on the device: 6 regions, 0.3 MB, on cpu (")


def module_of(root, **keys):
    measure = partial(OKS, truth=partial(coco.ground_truth, root=root, split="val"))
    given = {"augment": Augment(**WILD), "batch_size": 4, "cache": "device"} | keys
    data = PoseDataModule(
        "coco", "coco", coco.read, image.load, measure, root=root, input_size=SIZE, **given
    )
    data.setup()
    return data


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_the_loader_keeps_the_samplers_order_and_whole_batches(tiny_coco):
    data = module_of(tiny_coco)
    train, val = data.train_dataloader(), data.val_dataloader()
    assert len(train) == 1 and len(val) == 2
    (batch,) = epoch_of(train, 5)
    assert batch["index"].tolist() == [index for _, index in train.sampler][:4]
    assert [len(b["index"]) for b in val] == [4, 2]
    assert torch.cat([b["index"] for b in val]).tolist() == list(range(6))


def test_a_resumed_epoch_goes_on_with_the_same_batches(tiny_coco):
    whole = epoch_of(module_of(tiny_coco, batch_size=2).train_dataloader(), 3)
    data = module_of(tiny_coco, batch_size=2)
    data.set_position(3, 1)
    rest = list(data.train_dataloader())
    assert len(whole) == 3 and len(rest) == 2
    for a, b in zip(whole[1:], rest, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
