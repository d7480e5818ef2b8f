"""What an evaluation's figures show, read back from the figure instead of the pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from featherpose.errors import PoseError
from featherpose.evaluation import error_plots as plots
from featherpose.metrics.pck import PCKh
from featherpose.person import Person
from featherpose.skeletons import MPII

OFF = [3, 0, 12, 6]  # pixels that each person's head top is off, with heads of 10


def people(image: str = "synthetic") -> list[Person]:
    joints = np.random.default_rng(0).uniform(40, 160, (16, 2))
    centre, scale, box = np.full(2, 100.0), np.ones(2), np.array([20.0, 20, 160, 160])
    return [
        Person(f"{image}{n}", joints, np.full(16, 2), centre, scale, box, n, n, head_size=10.0)
        for n in range(4)
    ]


def scored(persons: list[Person]) -> PCKh:
    metric = PCKh(persons, MPII)
    points = np.array([person.joints for person in persons])
    points[:, MPII.index("head_top"), 0] += OFF
    metric.update(torch.arange(4), torch.from_numpy(points), torch.ones(4, 16))
    return metric


def grey(person: Person) -> np.ndarray:
    return np.full((200, 200, 3), 90, np.uint8)


def test_the_worst_persons_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    sheet = plots.contact_sheet

    def noting(tiles, columns, labels):
        shown.extend(labels)
        return sheet(tiles, columns=columns, labels=labels)

    monkeypatch.setattr(plots, "contact_sheet", noting)
    assert plots.worst(tmp_path / "worst.png", scored(people()), grey, MPII, 2) == 2
    # a head top 12 off counts as one whole, 6 off as 0.6, of fourteen scored joints
    assert [label.split("  ")[0] for label in shown] == [
        f"person 2: error {1 / 14:.2f}",
        f"person 3: error {0.6 / 14:.2f}",
    ]
    picture = cv2.imread(str(tmp_path / "worst.png"))
    assert picture.shape[1] >= 2 * plots.TILE
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert (90, 90, 90) in colours and len(colours) > 50, "grey, with skeletons on it"


def test_persons_without_their_pictures_are_passed_over(tmp_path: Path) -> None:
    """What a reader gives as a picture's address need not be a file: whether it is there, its `load` says."""
    there: list[str] = []

    def load(person: Person) -> np.ndarray:
        if person.image not in there:
            raise PoseError("The picture is missing.")
        return grey(person)

    persons = people("pack@")
    assert plots.worst(tmp_path / "worst.png", scored(persons), load, MPII, 4) == 0
    assert not list(tmp_path.iterdir())
    there.append(persons[1].image)
    assert plots.worst(tmp_path / "worst.png", scored(persons), load, MPII, 4) == 1


def test_a_bar_for_each_joint_and_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append(self))
    metric = scored(people())
    plots.by_joint(tmp_path / "joints.png", [metric, metric], MPII, "a run")
    bars, curve = figures[0].axes
    lengths = dict(zip(MPII.joints, (bar.get_width() for bar in bars.patches), strict=True))
    assert lengths == {joint: 50 if joint == "head_top" else 100 for joint in MPII.joints}
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names[0] == "right ankle" and names[6] == "pelvis (not scored)"
    assert "50.0" in {text.get_text() for text in bars.texts}
    assert bars.get_legend() is not None
    assert [len(line.get_xdata()) for line in curve.lines] == [51, 51]
    assert [line.get_color() for line in curve.lines] == [plots.ORANGE, plots.BLUE]
    assert curve.lines[-1].get_ydata()[-1] == pytest.approx(100 * (14 * 4 - 2) / (14 * 4))
    plots.by_joint(tmp_path / "joints.png", [metric], MPII, "a run")
    assert figures[1].axes[0].get_legend() is None
