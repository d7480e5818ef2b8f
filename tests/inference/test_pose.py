"""`Pose` without what training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from featherpose import Pose
from featherpose.errors import EXTRAS
from featherpose.image import read

# What raises when anything of the extras is imported, then a pose, drawn, and the verb
PROGRAM = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(each for extra in EXTRAS.values() for each in extra)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from featherpose import Pose
from featherpose.cli.app import main
from featherpose.errors import PoseError
from featherpose.image import read
picture, out = sys.argv[1:]
pose = Pose(threads=1)
people = pose(picture)
assert (pose.draw(read(picture), people) != read(picture)).any()
assert not {{"hydra", "omegaconf", "rich"}} & set(sys.modules)
np.save(f"{{out}}/keypoints.npy", people[0].keypoints)
try:
    Pose("best.ckpt")
except PoseError as error:
    print(error)
main("predict", f"source={{picture}}", f"out={{out}}", "threads=1")
"""


def test_neither_pose_nor_predict_needs_what_training_does(root: Path, tmp_path: Path) -> None:
    picture = root / "docs" / "images" / "astronaut_pose.jpg"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(picture), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no package torch" in done.stdout or "This needs torch" in done.stdout
    assert "1 poses" in done.stdout
    assert (tmp_path / "keypoints.json").is_file()
    (person,) = Pose(threads=1)(read(picture))
    np.testing.assert_array_equal(np.load(tmp_path / "keypoints.npy"), person.keypoints)
