"""The official formats, read to the numbers they hold; what is wrong in them, said or counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featherpose.data.readers import coco, joint, kept, lsp, mpii, mpii_files
from featherpose.errors import PoseError
from featherpose.skeletons import COCO, LSP, MPII, skeleton_of


def edit(root, change, split="val"):
    path = root / f"annotations/person_keypoints_{split}2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# COCO


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """What is tested is the reader, also of the large files."""
    monkeypatch.setattr(kept, "LEAST", 1 << 40)


def test_coco_person(tiny_coco):
    people = coco.read(tiny_coco, "val")
    person = people.persons[2]
    assert len(people.persons) == 6
    assert people.skipped == {}
    assert person.image.endswith("val2017/000000000003.jpg")
    assert (person.image_id, person.person_id, person.area, person.picture_size) == (
        3,
        102,
        5000.0,
        (160, 120),
    )
    assert person.visible.tolist() == [0] + [2] * 16
    np.testing.assert_allclose(
        person.box, [40, 10, 79, 99]
    )  # HRNet's clean box ends on the last pixel
    np.testing.assert_allclose(person.centre, [79.5, 59.5])
    np.testing.assert_allclose(person.scale, [79 * 1.25 / 200, 99 * 1.25 / 200])
    (digest,) = people.sources.values()
    assert len(digest) == 64


def test_coco_leaves_out_and_counts(tiny_coco):
    def change(content):
        a = content["annotations"]
        a[0]["iscrowd"] = 1
        a[1]["keypoints"], a[1]["num_keypoints"] = [0] * 51, 0
        a[2]["bbox"] = [40, 10, 0, 0]
        a[3]["area"] = 0
        a[4]["image_id"] = 999

    edit(tiny_coco, change)
    people = coco.read(tiny_coco, "val")
    assert len(people.persons) == 1
    assert people.skipped == {
        "crowd": 1,
        "no keypoints": 1,
        "box without size": 2,
        "annotation without a picture": 1,
    }


@pytest.mark.parametrize("box", [[300, 10, 30, 50], [40, 300, 50, 20], [40, 10, 1, 1]])
def test_a_box_beside_the_picture_or_of_one_pixel_is_none(tiny_coco, box):
    edit(tiny_coco, lambda c: c["annotations"][0].update(bbox=box, area=900))
    people = coco.read(tiny_coco, "val")
    assert people.skipped == {"box without size": 1} and len(people.persons) == 5


def test_coco_box_is_clipped_to_the_picture(tiny_coco):
    edit(tiny_coco, lambda c: c["annotations"][0].update(bbox=[-20, 30, 400, 500]))
    np.testing.assert_allclose(coco.read(tiny_coco, "val").persons[0].box, [0, 30, 159, 89])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda c: c["annotations"][1]["keypoints"].__setitem__(4, float("nan")),
            "record 101: keypoints holds a NaN",
        ),
        (
            lambda c: c["annotations"][1]["bbox"].__setitem__(0, float("inf")),
            "record 101: bbox holds a NaN or an inf",
        ),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), "record 101: bbox has 3 numbers"),
        (
            lambda c: c["annotations"][1].update(bbox="wide"),
            "record 101: bbox is not a list of numbers",
        ),
        (
            lambda c: c["annotations"][1].update(keypoints=[1, 2, 2]),
            "record 101: 3 keypoint numbers instead of 17",
        ),
        (
            lambda c: c["images"][1].update(file_name="../../etc/passwd.jpg"),
            "image 2: .* leads out of",
        ),
        (lambda c: c["images"][1].update(file_name="/etc/passwd.jpg"), "image 2: .* leads out of"),
        (lambda c: c["images"][1].update(width="wide"), "image 2: width should be a number"),
        (
            lambda c: c["images"][1].update(file_name="gone.jpg"),
            "1 of 6 annotated pictures are missing, e.g. .*gone.jpg",
        ),
        (lambda c: c["categories"][0].update(name="dog"), "no category 'person', only dog"),
        (lambda c: c["categories"][0]["keypoints"].reverse(), "names and order have to agree"),
        (lambda c: c.pop("images"), "no list 'images'"),
    ],
)
def test_coco_says_what_is_wrong(tiny_coco, change, sentence):
    edit(tiny_coco, change)
    with pytest.raises(PoseError, match=sentence):
        coco.read(tiny_coco, "val")


def test_json_that_is_cut_short(tiny_coco):
    path = tiny_coco / "annotations/person_keypoints_val2017.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PoseError, match="is not valid JSON"):
        coco.read(tiny_coco, "val")


def test_missing_pictures_may_be_left_out_and_counted(tiny_coco):
    (tiny_coco / "val2017/000000000002.jpg").unlink()
    people = coco.read(tiny_coco, "val", pictures="skip")
    assert len(people.persons) == 5
    assert people.skipped == {"picture missing": 1}
    with pytest.raises(PoseError, match="require, skip or ignore"):
        coco.read(tiny_coco, "val", pictures="maybe")


def test_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(PoseError) as error:
        coco.read(tmp_path / "none", "val")
    for part in (
        "cocodataset.org",
        "train2017/",
        "scripts/check_data.py data=coco",
        str(tmp_path / "none"),
    ):
        assert part in str(error.value)
    for read, page in (
        (mpii.read, "mpi-inf.mpg.de"),
        (lsp.read, "lsp.html"),
        (lsp.read_extended, "lspet.html"),
    ):
        with pytest.raises(PoseError, match=page):
            read(None, "train")


def test_own_skeleton(tmp_path):
    from ...small_sets import coco_json

    own = {
        "name": "hand",
        "joints": ["wrist", "left_tip", "right_tip"],
        "limbs": ["wrist-left_tip"],
    }
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/train.json").write_text(json.dumps(coco_json(3, 3, tuple(own["joints"]))))
    people = coco.read(tmp_path, "train", "labels/{split}.json", "images", own, pictures="ignore")
    assert people.persons[0].joints.shape == (3, 2)
    assert skeleton_of(own).flip_order == (0, 2, 1)


def test_ground_truth_keeps_crowds_and_the_unlabelled(tiny_coco):
    def change(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1].update(keypoints=[0] * 51, num_keypoints=0)
        content["images"].append({"id": 50, "file_name": "empty.jpg", "width": 9, "height": 9})

    edit(tiny_coco, change)
    truth = coco.ground_truth(tiny_coco)
    assert truth.ignore.tolist() == [True, True, False, False, False, False]
    assert truth.crowd.tolist() == [True] + [False] * 5
    assert 50 in truth.images
    np.testing.assert_array_equal(truth.box[2], [40, 10, 80, 100])


def test_real_coco(real_data):
    train, val = (coco.read(real_data / "coco", split) for split in ("train", "val"))
    assert (len(train.persons), len(val.persons)) == (349, 241)
    assert train.skipped["crowd"] == 6


# MPII


def read_mpii(tiny, split, form):
    return mpii.read(tiny.root, split, annotations=form, published=False)


@pytest.mark.parametrize("split", ["train", "val"])
def test_three_forms_give_the_same_people(tiny_mpii, split):
    tiny_mpii.write_flat()
    tiny_mpii.write_annot()
    tiny_mpii.write_official()
    annot = "annot/train.json" if split == "train" else "annot/valid.json"
    forms = [
        read_mpii(tiny_mpii, split, f)
        for f in ("mpii_annotations.json", annot, "mpii_human_pose_v1_u12_1.mat")
    ]
    first = forms[0].persons
    assert len(first) == (4 if split == "train" else 3)
    hashes = set()
    for form in forms:
        hashes |= {value for key, value in form.sources.items() if key.startswith("mpii ")}
        assert [p.image for p in form.persons] == [p.image for p in first]
        for a, b in zip(form.persons, first, strict=True):
            np.testing.assert_allclose(a.joints, b.joints)
            assert ((a.visible > 0) == (b.visible > 0)).all()
            np.testing.assert_allclose([*a.centre, *a.scale], [*b.centre, *b.scale])
            assert a.head_size == pytest.approx(b.head_size) or form is forms[2]
    assert len(hashes) == 1
    official = read_mpii(tiny_mpii, "val", "mpii_human_pose_v1_u12_1.mat")
    assert official.skipped == {"another person in a validation picture": 1}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("form", ["mpii_annotations.json", "annot/{}.json"])
def test_columns_are_those_of_records_one_by_one(tiny_mpii, monkeypatch, split, form):
    tiny_mpii.write_flat()
    tiny_mpii.write_annot()
    form = form.format("train" if split == "train" else "valid")
    fast = read_mpii(tiny_mpii, split, form)
    monkeypatch.setattr(mpii_files, "columns", lambda path, validation: None)
    slow = read_mpii(tiny_mpii, split, form)
    assert (fast.sources, fast.skipped) == (slow.sources, slow.skipped)
    assert fast.persons.images() == slow.persons.images()
    for column in ("joints", "visible", "centre", "scale", "box", "head_size", "picture_size"):
        a, b = getattr(fast.persons, column), getattr(slow.persons, column)
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes()), column


def test_mpii_person(tiny_mpii):
    tiny_mpii.write_flat()
    person, raw = read_mpii(tiny_mpii, "val", None).persons[0], tiny_mpii.persons[4]
    np.testing.assert_allclose(person.joints[1:], raw["joints"][1:] - 1)  # from MATLAB's 1 to 0
    assert person.visible.tolist() == [0, 1] + [2] * 14
    np.testing.assert_allclose(person.centre, [84 - 1, 60 + 15 * 0.44 - 1])
    np.testing.assert_allclose(person.scale, [0.44 * 1.25] * 2)
    assert person.head_size == pytest.approx(0.6 * np.hypot(20, 24))
    assert person.image_id == 5


@pytest.mark.parametrize("form", ["mpii_annotations.json", "annot/train.json"])
def test_a_training_persons_head_is_three_quarters_of_neck_to_head_top(tiny_mpii, form):
    joints = tiny_mpii.persons[0]["joints"]
    joints[MPII.index("upper_neck")], joints[MPII.index("head_top")] = (100, 90), (130, 50)
    tiny_mpii.persons[1]["joints"][MPII.index("head_top")] = 0  # not annotated
    tiny_mpii.write_flat()
    tiny_mpii.write_annot()
    persons = read_mpii(tiny_mpii, "train", form).persons
    assert persons[0].head_size == pytest.approx(0.75 * 50)
    assert np.isnan(persons[1].head_size)


@pytest.mark.parametrize(
    "form", ["mpii_annotations.json", "annot/train.json", "mpii_human_pose_v1_u12_1.mat"]
)
def test_each_form_gives_the_numbers_that_were_written(tiny_mpii, form):
    tiny_mpii.write_flat()
    tiny_mpii.write_annot()
    tiny_mpii.write_official()
    persons, raw = read_mpii(tiny_mpii, "train", form).persons, tiny_mpii.persons[:4]
    for i, (person, wrote) in enumerate(zip(persons, raw, strict=True)):
        assert person.image.endswith(f"/{i + 1:09d}.jpg")
        np.testing.assert_allclose(person.joints[1:], wrote["joints"][1:] - 1)
        assert person.visible[0] == 0 and (person.visible[1:] > 0).all()
        scale = 0.4 + i / 100
        np.testing.assert_allclose(person.centre, [80 + i - 1, 60 - 1 + 15 * scale])
        np.testing.assert_allclose(person.scale, [scale * 1.25] * 2)


def test_mpii_without_ground_truth_or_split(tiny_mpii):
    tiny_mpii.write_flat()
    with pytest.raises(PoseError, match="gives 4 train persons; the accepted split has 22246"):
        mpii.read(tiny_mpii.root, "train")
    (tiny_mpii.root / "detections_our_format.mat").unlink()
    assert len(read_mpii(tiny_mpii, "train", None).persons) == 4
    with pytest.raises(PoseError, match="PCKh needs its head boxes"):
        read_mpii(tiny_mpii, "val", None)


def test_mpii_ground_truth_of_other_people(tiny_mpii):
    tiny_mpii.persons[5]["joints"] += 9
    tiny_mpii.write_truth()
    tiny_mpii.persons[5]["joints"] -= 9
    tiny_mpii.write_flat()
    with pytest.raises(PoseError, match="record 5: its joints are not those of the ground truth"):
        read_mpii(tiny_mpii, "val", None)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("scale", float("nan"), "record 2: scale_provided should be a number"),
        ("scale", 0.0, "record 2: its scale is 0.0, so it has no size"),
        ("image", "../secret.jpg", "record 2: the picture '../secret.jpg' leads out of"),
        ("image", 7, "record 2: its picture's name is 7"),
        ("centre", [1.0], "record 2: it needs 16 joints and a centre"),
    ],
)
def test_mpii_says_what_is_wrong(tiny_mpii, key, value, sentence):
    tiny_mpii.persons[2][key] = value
    tiny_mpii.write_flat()
    with pytest.raises(PoseError, match=sentence):
        read_mpii(tiny_mpii, "train", None)


def test_real_mpii_is_the_accepted_split(real_data):
    train = mpii.read(real_data / "mpii", "train", pictures="ignore")
    val = mpii.read(real_data / "mpii", "val", pictures="ignore")
    assert (len(train.persons), len(val.persons)) == (22246, 2958)
    assert not {p.image for p in train.persons} & {p.image for p in val.persons}
    import h5py

    with h5py.File(
        real_data / "mpii/valid.h5"
    ) as file:  # an independent copy: centre and scale already moved
        names = [name.decode() for name in file["imgname"]]
        assert [p.image.rsplit("/", 1)[1] for p in val.persons] == names
        centres = np.array([p.centre for p in val.persons])
        np.testing.assert_allclose(
            centres, file["center"][:] - 1, atol=0.01
        )  # the json rounds scales to 3 digits
        np.testing.assert_allclose([p.scale[0] for p in val.persons], file["scale"], atol=1e-3)
        heads = [p.head_size for p in val.persons]
        np.testing.assert_allclose(heads, file["normalize"], rtol=1e-3)


# LSP


def test_lsp_flags_are_occlusion(tiny_lsp):
    train = lsp.read(tiny_lsp, "train", pictures="skip")
    assert len(train.persons) == 4
    assert train.skipped == {"picture missing": 996}
    assert train.persons[0].visible.tolist() == [2, 2, 2, 1] + [2] * 10
    person = train.persons[1]
    low, high = person.joints.min(axis=0), person.joints.max(axis=0)
    np.testing.assert_allclose(person.centre, (low + high) / 2)
    np.testing.assert_allclose(person.scale, (high - low) * 1.25 / 200)


def test_lsp_test_crop_is_the_whole_picture(tiny_lsp):
    test = lsp.read(tiny_lsp, "val", pictures="skip")
    assert [p.image_id for p in test.persons] == [1001, 1002, 1003]
    np.testing.assert_allclose(test.persons[0].centre, [80, 60])
    np.testing.assert_allclose(test.persons[0].scale, [160 / 200, 120 / 200])
    by_joints = lsp.read(tiny_lsp, "val", pictures="skip", extent="joints")
    assert by_joints.persons[0].scale[1] < 0.6


def test_lspet_flags_are_annotation_and_rules_leave_out(tiny_lspet):
    people = lsp.read_extended(tiny_lspet, "train", (1, 7), (8, 10))
    assert people.skipped == {"fewer than 6 joints": 1, "torso below 0.05 of the extent": 1}
    assert [p.image_id for p in people.persons] == [1, 2, 3, 5, 7]
    person = people.persons[0]
    assert person.visible.tolist() == [0] + [2] * 13
    assert person.joints[0].tolist() == [0, 0]
    assert person.box[1] > 0  # the junk at (-300, 900) is not in the extent
    assert len(lsp.read_extended(tiny_lspet, "val", (1, 7), (8, 10)).persons) == 3


def test_lspet_leaves_out_mixed_sides_and_copies(tiny_lspet):
    from scipy.io import loadmat, savemat

    table = loadmat(tiny_lspet / "joints.mat")["joints"]
    for name, x in (
        ("left_shoulder", 100),
        ("right_shoulder", 60),
        ("left_hip", 60),
        ("right_hip", 100),
    ):
        table[LSP.index(name), :, 1] = (x, 30 if "shoulder" in name else 90, 1)  # picture 2
    savemat(tiny_lspet / "joints.mat", {"joints": table})
    people = lsp.read_extended(
        tiny_lspet, "train", (2, 3), (8, 10), least_torso=0, least_cosine=-0.99, copies=[3, 9]
    )
    assert people.skipped == {"left and right mixed up": 1, "copy of a test picture": 1}
    assert [
        p.image_id
        for p in lsp.read_extended(tiny_lspet, "val", (2, 3), (8, 10), copies=[9]).persons
    ] == [8, 9, 10]


def test_lsp_files_in_each_others_place(tiny_lsp, tiny_lspet):
    with pytest.raises(PoseError, match="the file of the other LSP set"):
        lsp.read(tiny_lspet, "train")
    with pytest.raises(PoseError, match="the file of the other LSP set"):
        lsp.read_extended(tiny_lsp, "train")
    with pytest.raises(PoseError, match=r"pictures 1 to 10; data.read.train is"):
        lsp.read_extended(tiny_lspet, "train")


def test_mat_that_is_cut_short(tiny_lspet):
    path = tiny_lspet / "joints.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PoseError, match="can't be read as a MATLAB file"):
        lsp.read_extended(tiny_lspet, "train")


def test_real_lspet(real_data):
    rules = {"train": (1, 3500), "val": (3501, 4500), "least_cosine": -0.5, "copies": [298, 545]}
    people = lsp.read_extended(real_data / "lspet", "train", **rules)
    assert len(people.persons) == 3420
    assert people.skipped == {
        "fewer than 6 joints": 2,
        "torso below 0.05 of the extent": 2,
        "left and right mixed up": 74,
        "copy of a test picture": 2,
    }
    test = lsp.read_extended(real_data / "lspet", "val", **rules)
    assert (len(test.persons), test.skipped) == (983, {"left and right mixed up": 17})


# Together


def test_joint_set_masks_what_a_set_lacks(tiny_lsp, tiny_mpii):
    tiny_mpii.write_flat()
    from functools import partial

    sets = {
        "lsp": {"read": partial(lsp.read, pictures="skip"), "root": tiny_lsp, "skeleton": "lsp"},
        "mpii": {
            "read": partial(mpii.read, published=False),
            "root": tiny_mpii.root,
            "skeleton": "mpii",
        },
    }
    people = joint.read(None, "train", sets, skeleton="lsp", validate="lsp")
    assert len(people.persons) == 4 + 4
    assert people.skipped == {"lsp: picture missing": 996}
    own = mpii.read(tiny_mpii.root, "train", published=False).persons[0]
    for k, name in enumerate(LSP.joints):
        source = MPII.index({"neck": "upper_neck"}.get(name, name))
        np.testing.assert_array_equal(people.persons[4].joints[k], own.joints[source])
    assert (
        len({p.image_id for p in people.persons}) == len({p.person_id for p in people.persons}) == 8
    )
    assert all("/lsp/" in p.image for p in joint.read(None, "val", sets, "lsp", "lsp").persons)

    in_mpii = joint.read(None, "train", sets, skeleton="mpii")
    lsp_person = in_mpii.persons[0]
    assert lsp_person.visible[MPII.index("pelvis")] == 0
    assert lsp_person.visible[MPII.index("thorax")] == 0
    assert lsp_person.visible[MPII.index("upper_neck")] == 2
    with pytest.raises(PoseError, match="validate is 'coco'"):
        joint.read(None, "val", sets, "lsp", "coco")


def test_joint_names_translate_by_name():
    order = joint.translation(COCO, LSP)
    assert order[LSP.index("left_knee")] == COCO.index("left_knee")
    assert order[LSP.index("head_top")] == -1
