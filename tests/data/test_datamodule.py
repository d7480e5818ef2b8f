"""Loaders: sizes, order, going on in the middle of an epoch, several processes, and the shipped configs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from featherpose import image
from featherpose.data.augment import Augment
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.readers import coco
from featherpose.data.sampler import PersonSampler
from featherpose.errors import PoseError
from featherpose.person import People, Person
from featherpose.protocol import Protocol


def module(root, **changes) -> PoseDataModule:
    keys = {
        "name": "coco", "skeleton": "coco", "read": coco.read, "load": image.load, "root": root, "metric": list,
        "aspect": 0.75, "input_size": (64, 48), "batch_size": 2, "workers": 0, "joints": 17,
        "augment": Augment((0.7, 1.3), 40.0, flip=0.5),
    }  # fmt: skip
    return PoseDataModule(**(keys | changes))


def test_batches(tiny_coco):
    data = module(tiny_coco, batch_size=4)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [4, 2]
    assert sorted(i for batch in batches for i in batch["index"].tolist()) == list(range(6))
    batch = batches[0]
    assert batch["image"].shape == (4, 3, 64, 48)
    assert batch["image"].dtype == torch.uint8
    assert batch["joints"].shape == (4, 17, 2)
    assert batch["visible"].shape == (4, 17)
    assert batch["matrix"].shape == (4, 2, 3)
    assert batch["index"].dtype == torch.int64
    assert [b["index"].tolist() for b in data.val_dataloader()] == [[0, 1, 2, 3], [4, 5]]


def test_people_in_turned_pictures_lie_in_their_crops(tiny_coco):
    """A quarter turn clockwise of the frame: what was right of the centre is above it, at the scale that fits."""
    data = module(tiny_coco, input_size=(64, 64), batch_size=6)
    (plain,), (turned,) = data.val_dataloader(), data.turned_dataloader(90)
    seen = plain["visible"][..., None] > 0
    x, y = (plain["joints"] - 32).unbind(-1)
    wanted = torch.where(seen, torch.stack([y, -x], dim=-1) + 32, 0)
    torch.testing.assert_close(turned["joints"], wanted, atol=1e-3, rtol=0)
    assert not torch.equal(plain["image"], turned["image"])


def test_input_size_follows_the_network(tiny_coco):
    assert module(tiny_coco, input_size=None, natural_height=256).input_size == (256, 192)
    assert module(tiny_coco, input_size=None, natural_height=128, aspect=1.0).input_size == (
        128,
        128,
    )
    with pytest.raises(
        PoseError, match=r"\[250, 192\] must be a multiple of the network's stride, 4"
    ):
        module(tiny_coco, input_size=(250, 192))


def test_choices_that_cannot_be(tiny_coco):
    with pytest.raises(PoseError, match=r"data.joints is 16, but the skeleton coco has 17"):
        module(tiny_coco, joints=16)
    with pytest.raises(PoseError, match=r"no data\.cache=ram; known: crops, device"):
        module(tiny_coco, cache="ram")
    empty = module(tiny_coco, read=lambda root, split: People([], {"crowd": 3}))
    with pytest.raises(PoseError, match=r"The split train has no person to use \(3 crowd\)"):
        empty.setup("fit")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"batch_size": 0}, r"data\.batch_size is 0; .* of at least 1"),
        ({"batch_size": -4}, r"data\.batch_size is -4"),
        ({"workers": -1}, r"data\.workers is -1; .* of at least 0"),
        ({"workers": "two"}, r"data\.workers is two"),
        ({"aspect": 0}, r"data\.aspect is 0"),
        ({"seed": -1}, r"seed is -1"),
        ({"input_size": 64}, r"data\.input_size is 64; it has to be a list of 2 numbers"),
        ({"input_size": (64, 64, 3)}, r"data\.input_size is .*; it has to be a list of 2 numbers"),
        ({"input_size": (-64, 64)}, r"data\.input_size is -64"),
        ({"input_size": (63, 64)}, r"\[63, 64\] must be a multiple of the network's stride"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(tiny_coco, wrong, sentence):
    with pytest.raises(PoseError, match=sentence):
        module(tiny_coco, **wrong)


def test_truncated_picture_in_a_worker_is_one_sentence(tiny_coco):
    path = tiny_coco / "train2017/000000000004.jpg"
    path.write_bytes(path.read_bytes()[:900])
    for workers in (0, 2):
        with pytest.raises(PoseError) as error:
            list(module(tiny_coco, workers=workers).train_dataloader())
        assert str(error.value) == f"The picture {path} is truncated: fetch it again."


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_in_the_middle_of_an_epoch(tiny_coco, workers):
    whole = module(tiny_coco, workers=workers)
    loader = whole.train_dataloader()
    loader.sampler.set_epoch(5)
    expected = list(loader)
    loader.sampler.set_epoch(6)
    following = list(loader)

    resumed = module(tiny_coco, workers=workers)
    resumed.set_position(5, 2)
    loader = resumed.train_dataloader()
    assert len(loader) == 3  # Lightning counts by the whole epoch
    loader.sampler.set_epoch(5)
    (last,) = list(loader)
    for key, values in last.items():
        assert torch.equal(values, expected[2][key]), key
    loader.sampler.set_epoch(6)
    for batch, wanted in zip(loader, following, strict=True):
        assert torch.equal(batch["image"], wanted["image"])


def test_position_may_be_set_after_the_loader_was_made(tiny_coco):
    data = module(tiny_coco)
    loader = data.train_dataloader()
    data.set_position(0, 1)
    assert len(list(loader)) == 2


@pytest.mark.parametrize("ranks", [1, 2])
def test_nobody_trains_alone(ranks):
    """A batch of one person has no deviation for batch norm; each epoch leaves somebody else out."""
    epochs = []
    for epoch in range(8):
        sampler = PersonSampler(range(9 * ranks), ranks=ranks, batch_size=4)
        sampler.set_epoch(epoch)
        epochs.append([index for _, index in sampler])
        assert len(epochs[-1]) == len(sampler) == 8
        sampler.set_position(epoch, 1)
        assert [index for _, index in sampler] == epochs[-1][4:], "a resumed epoch ends alike"
    assert len({tuple(sorted(each)) for each in epochs}) > 1
    assert len(PersonSampler(range(9), shuffle=False, batch_size=4)) == 9, "all are validated"
    assert len(PersonSampler(range(1), batch_size=4)) == 1, "the only one there is"
    assert len(PersonSampler(range(9), batch_size=2)) == 8
    assert len(PersonSampler(range(9), batch_size=1)) == 9


def test_order_depends_on_seed_and_epoch_only():
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            sampler = PersonSampler(range(50), seed=seed)
            sampler.set_epoch(epoch)
            orders[seed, epoch] = list(sampler)
            assert list(sampler) == orders[seed, epoch]
            assert sorted(index for _, index in sampler) == list(range(50))
            assert {e for e, _ in sampler} == {epoch}
    assert len({tuple(i for _, i in order) for order in orders.values()}) == 4


@pytest.mark.parametrize(("people", "ranks"), [(10, 2), (11, 2), (11, 4), (3, 4), (1, 4)])
def test_processes_share_everybody(people, ranks):
    parts = [
        list(PersonSampler(range(people), shuffle=False, ranks=ranks, rank=rank))
        for rank in range(ranks)
    ]
    assert len({len(part) for part in parts}) == 1
    assert {index for part in parts for _, index in part} == set(range(people))
    shuffled = [
        list(PersonSampler(range(people), seed=3, ranks=ranks, rank=rank)) for rank in range(ranks)
    ]
    assert {index for part in shuffled for _, index in part} == set(range(people))


def test_lightning_keeps_the_sampler_and_tells_it_the_epoch(tiny_coco):
    import lightning as L

    seen: list[tuple[int, int]] = []

    class Recorder(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, _):
            seen.extend((self.current_epoch, i) for i in batch["index"].tolist())
            return self.layer(batch["visible"][:, :1]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", **quiet)
    trainer.fit(Recorder(), datamodule=module(tiny_coco))
    orders = []
    for epoch in (0, 1):
        sampler = PersonSampler(range(6), seed=0)
        sampler.set_epoch(epoch)
        orders += list(sampler)
    assert seen == orders


def test_shipped_configs_build_and_load(tiny_coco, tiny_mpii, tiny_lspet, root):
    """Every data config, pointed at a tiny set of its form."""
    from hydra import compose, initialize_config_dir

    from featherpose.targets import build

    tiny_mpii.write_flat()
    places = {
        "coco": (tiny_coco, []),
        "mpii": (tiny_mpii.root, ["+data.read.published=false"]),
        "lspet": (tiny_lspet, ["data.read.train=[1,7]", "data.read.val=[8,10]"]),
    }
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        for name, (folder, more) in places.items():
            for augment in ("lapx", "le_hrnet", "repose", "none"):
                overrides = [
                    f"data={name}",
                    f"+augment={augment}",
                    "+paths.root=x",
                    "+paths.data=y",
                    f"data.root={folder}",
                ]
                cfg = compose(
                    overrides=[f"+{overrides[0]}", *overrides[1:], "data.workers=0", *more]
                )
                data = build(cfg.data, stride=4, natural_height=64, seed=1)
                data.setup("fit")
                batch = next(iter(data.train_dataloader()))
                assert batch["image"].shape[2] == 64
                assert np.isfinite(batch["joints"].numpy()).all()
                assert isinstance(data.metric, partial)
                data.metric(data.val_people.persons)


def test_custom_and_joint_configs(tmp_path, tiny_lsp, tiny_mpii, root):
    from hydra import compose, initialize_config_dir

    from featherpose.targets import build

    from ..small_sets import coco_json, write_picture

    names = (
        "head",
        "left_shoulder",
        "right_shoulder",
        "left_hand",
        "right_hand",
        "left_hip",
        "right_hip",
    )
    mine = tmp_path / "mine"
    for split in ("train", "val"):
        (mine / "annotations").mkdir(parents=True, exist_ok=True)
        content = coco_json(3, 7, names)
        (mine / f"annotations/{split}.json").write_text(json.dumps(content))
        for i, entry in enumerate(content["images"]):
            write_picture(mine / "images" / entry["file_name"], i)
    tiny_mpii.write_flat()
    skip = "data.read.sets.{0}.root={1} data.read.sets.{0}.read.pictures=skip"
    joint = [*skip.format("lsp", tiny_lsp).split(), f"data.read.sets.mpii.root={tiny_mpii.root}"]
    cases = {
        "custom": ([f"data.root={mine}"], 7, (3, 3)),
        "lsp_mpii": ([*joint, "+data.read.sets.mpii.read.published=false"], 14, (8, 3)),
    }
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        for name, (overrides, joints, counts) in cases.items():
            cfg = compose(
                overrides=[
                    f"+data={name}",
                    "+augment=lapx",
                    "+paths.data=x",
                    "data.workers=0",
                    *overrides,
                ]
            )
            data = build(cfg.data, stride=4, natural_height=64, seed=1)
            assert (len(data.train_people.persons), len(data.val_people.persons)) == counts
            assert next(iter(data.train_dataloader()))["joints"].shape[1] == joints


def test_cache_changes_nothing_but_the_time(tiny_coco, tmp_path):
    folder = tmp_path / "cache"
    plain = list(module(tiny_coco, cache_folder=folder).train_dataloader())
    assert not folder.exists()
    cached = list(
        module(tiny_coco, cache="crops", cache_folder=folder, workers=2).train_dataloader()
    )
    for a, b in zip(plain, cached, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert len(list(folder.glob("crops-*/pixels.bin"))) == 1


CONF = Path(__file__).resolve().parents[2] / "conf"
DATA = sorted(path.stem for path in (CONF / "data").glob("[!_]*.yaml"))


def two_people(skeleton) -> People:
    """One annotated in full, one in two joints of the torso alone: the two means of PCK differ."""
    joints = np.random.default_rng(0).uniform(0, 100, (len(skeleton), 2))
    some = np.zeros(len(skeleton), np.uint8)
    some[list(skeleton.torso or (0, 1))] = 2
    persons = [
        Person(
            image="x", joints=joints, visible=visible, centre=np.full(2, 50.0), scale=np.ones(2),
            box=np.array([0.0, 0, 100, 100]), image_id=i, person_id=i, area=1e4, head_size=20.0,
        )
        for i, visible in enumerate((np.full(len(skeleton), 2, np.uint8), some))
    ]  # fmt: skip
    return People(persons)


@pytest.mark.parametrize("mean", ["weighted", "unweighted"])
@pytest.mark.parametrize("choice", DATA)
def test_a_stamp_says_what_was_done_whatever_was_asked(choice, mean):
    from hydra import compose, initialize_config_dir

    from featherpose.targets import build

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"data={choice}", f"protocol.mean={mean}", "paths.root=/nowhere"])
    data = build(OmegaConf.to_container(cfg.data, resolve=True))
    data.val_people = two_people(data.skeleton)
    protocol = Protocol.of(OmegaConf.to_container(cfg.protocol)).with_changes(
        {"boxes": "detections"}
    )
    metric = data.new_metric(protocol.mean)
    stamp = data.stamp(protocol, 4, metric)
    assert stamp["boxes"] == "ground_truth"
    points = np.array([person.joints for person in data.val_people.persons])
    points[1] += 1000  # the second person's two joints are wrong
    metric.update(torch.arange(2), torch.from_numpy(points), torch.ones(points.shape[:2]))
    scores = metric.compute() if stamp["mean"] else {}
    if stamp["mean"] is None:
        assert metric.main.startswith("AP")
    else:
        assert stamp["mean"] == mean
        assert scores[f"{metric.main} weighted"] != scores[f"{metric.main} unweighted"]
        assert scores[metric.main] == scores[f"{metric.main} {mean}"]
