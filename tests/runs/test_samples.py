"""What a run's predictions got wrong, on predictions whose errors are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.runs import plots, samples
from featherpose.runs.folder import Run
from featherpose.skeletons import MPII


def predictions(shift: float = 0.0, count: int = 4) -> dict[str, np.ndarray]:
    """People in boxes of 30 by 40 pixels (extent 50): sample i is off by `i + shift` pixels to the right."""
    joints = np.zeros((count, 16, 2))
    joints[:, :, 0] = np.linspace(100, 130, 16)
    joints[:, :, 1] = np.linspace(50, 90, 16)
    visible = np.full((count, 16), 2, np.uint8)
    visible[:, 3] = 1  # left_hip occluded
    visible[0, 5] = 0  # left_ankle of the first not annotated
    keypoints = np.stack([joints + 20.0, joints])
    keypoints[1, :, :, 0] += np.arange(count)[:, None] + shift
    keypoints[1, :, 3, 1] += 30.0
    keypoints[:, 0, 5] = np.nan
    return {
        "index": np.arange(count),
        "keypoints": keypoints.astype(np.float32),
        "confidence": np.full((2, count, 16), 0.5, np.float32),
        "joints": joints,
        "visible": visible,
        "person_id": 7 + np.arange(count),
        "image": np.array([f"picture-{i}" for i in range(count)]),
    }


@pytest.fixture
def run(write_run: Any) -> Run:
    return Run(write_run("lapx", config={"data": {"skeleton": "mpii"}}, predictions=predictions()))


def test_errors_in_pixels_and_of_the_extent(run: Run) -> None:
    table = samples.errors(run)
    assert len(table) == 4 * 16 - 1
    assert not table["pixels"].isna().any()
    wrist = table[table["joint"] == "left_wrist"].set_index("sample")
    np.testing.assert_allclose(wrist["pixels"], [0, 1, 2, 3], atol=1e-4)
    np.testing.assert_allclose(wrist["relative"], np.array([0, 1, 2, 3]) / 50, atol=1e-5)
    assert wrist["found"].tolist() == [True, True, True, False]
    np.testing.assert_allclose(samples.errors(run, 0)["pixels"], np.hypot(20, 20), rtol=1e-5)


def test_by_joint_occlusion_and_size(run: Run) -> None:
    joints = samples.by_joint(run)
    assert list(joints.index) == list(MPII.joints)
    assert joints.loc["left_hip", "found %"] == 0
    assert joints.loc["left_wrist", "found %"] == 75
    assert joints.loc["left_ankle", "joints"] == 3
    occlusion = samples.by_occlusion(run)
    assert occlusion.loc["occluded", "joints"] == 4
    assert occlusion.loc["occluded", "found %"] == 0
    assert occlusion.loc["visible", "median pixels"] == pytest.approx(2.0, abs=1e-4)
    assert samples.by_size(run)["joints"].sum() == 63
    assert samples.by_stage([run])["lapx"].iloc[0] == 0


def test_outputs_are_called_by_the_names_that_the_run_has_kept(write_run: Any) -> None:
    names = ["before the updates", "final"]
    config = {"data": {"skeleton": "mpii"}}
    named = Run(
        write_run("a", config=config, predictions=predictions(), network={"outputs": names})
    )
    old = Run(write_run("b", config=config, predictions=predictions()))
    table = samples.by_stage([named, old])
    assert list(table.index) == [*names, "stage 1", "stage 2"]
    assert table["a"].notna().tolist() == [True, True, False, False]


def test_worst_samples_come_first(run: Run) -> None:
    table = samples.per_sample(run)
    assert table.index.tolist() == [3, 2, 1, 0]
    assert table.loc[3, "person"] == 10
    assert table.loc[0, "joints"] == 15


def test_on_which_samples_two_runs_disagree(run: Run, write_run: Any) -> None:
    found = predictions()
    found["keypoints"][1, 2, :, 0] += 40  # the other run is far off on sample 2 only
    other = Run(write_run("other", config={"data": {"skeleton": "mpii"}}, predictions=found))
    table = samples.disagreement(run, other)
    assert table.index[-1] == 2
    assert table["difference"].iloc[:3].abs().max() == 0
    assert table["difference"].iloc[-1] < -0.5
    strange = predictions() | {"image": np.array(["other"] * 4)}
    with pytest.raises(PoseError, match="same people"):
        samples.disagreement(
            run, Run(write_run("c", config={"data": {"skeleton": "mpii"}}, predictions=strange))
        )


def test_sample_sheet_shows_annotation_and_prediction(run: Run) -> None:
    sheet = samples.sample_sheet(
        run, [3, 0], load=lambda person: np.full((200, 300, 3), 90, np.uint8), side=100
    )
    assert sheet.shape[2] == 3
    left, right = sheet[4:104, 4:104].astype(int), sheet[4:104, 108:208].astype(int)
    assert (np.abs(left - 90).max(axis=2) > 60).sum() > 100  # a skeleton was drawn
    assert np.abs(left - right).mean() > 1  # and not the same one twice


def test_speed_figure_from_the_benchmarks_table(tmp_path: Path) -> None:
    rows = ["name,parameters,macs,threads_1,fps_1,threads_all,fps_all"]
    rows += ["lapx,2312154,2.587e9,1,12.5,2,30.1", "lpn_50,2900000,1.0e9,1,30.5,2,61.0"]
    (tmp_path / "latency.csv").write_text("\n".join(rows) + "\n")
    two = cv2.imread(str(plots.speed_figure(tmp_path / "latency.csv", tmp_path / "two.png")))
    (tmp_path / "one.csv").write_text(
        "\n".join(",".join(row.split(",")[:5]) for row in rows) + "\n"
    )
    one = cv2.imread(str(plots.speed_figure(tmp_path / "one.csv", tmp_path / "one.png")))
    assert two.shape[1] > 1.8 * one.shape[1]  # a panel for each number of threads
    for colour in (
        (0xD5, 0x5E, 0x00),
        (0x00, 0x9E, 0x73),
    ):  # the hourglass and the baseline are both there
        near = np.abs(one[..., ::-1].astype(int) - colour).max(axis=2) < 30
        assert near.sum() > 20
    (tmp_path / "other.csv").write_text("name,score\nlapx,88\n")
    with pytest.raises(PoseError, match="no parameters, macs column"):
        plots.speed_figure(tmp_path / "other.csv", tmp_path / "other.png")


def test_picture_as_an_address(tmp_path: Path) -> None:
    import base64

    picture = np.zeros((10, 2800, 3), np.uint8)
    picture[..., 0] = 250
    address = plots.picture_uri(picture)
    head, _, body = address.partition(",")
    assert head == "data:image/webp;base64"
    back = cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR)
    assert back.shape == (5, 1400, 3)
    assert back[..., 2].mean() > 240 > 20 > back[..., 0].mean()
    noise = np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)
    assert (
        len(plots.picture_uri(noise, most=120_000))
        <= 120_000
        < len(plots.picture_uri(noise, most=10**7))
    )
    with pytest.raises(PoseError, match="is missing"):
        plots.picture_uri(tmp_path / "none.png")
