"""By which sigmas an AP is, and that its name says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.metrics.sigmas import similarity_by
from featherpose.skeletons import COCO, skeleton_of

OWN = skeleton_of({"name": "own", "joints": ["a", "b"], "sigmas": [0.05, 0.1]})
BARE = replace(OWN, sigmas=None)


def test_ap_is_by_cocos_sigmas_alone() -> None:
    assert similarity_by(None, COCO) == (COCO.sigmas, "AP")
    assert similarity_by(list(COCO.similarity_sigmas), COCO)[1] == "AP"
    assert similarity_by(None, replace(COCO, sigmas=(0.05,) * 17))[1].startswith("AP(given sigmas")
    assert similarity_by(None, BARE) == ((0.067, 0.067), "AP(sigma 0.067)")
    assert similarity_by("default", OWN) == ((0.067, 0.067), "AP(sigma 0.067)")


def test_two_sets_of_sigmas_have_two_names() -> None:
    given, name = similarity_by([0.05, 0.1], BARE)
    assert (given, name) == similarity_by(None, OWN)
    assert name != similarity_by([0.05, 0.11], BARE)[1]


def test_a_file_is_read_by_names_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "sigmas.json"
    path.write_text(json.dumps({"estimated": {"b": 0.2, "a": 0.1}}))
    assert similarity_by(str(path), OWN)[0] == (0.1, 0.2)
    for content, says in (
        ('{"estimated": {"a": 0.1}}', "has no sigma of b"),
        ('{"estimated": {"a": 0.1, "b": 0}}', "b is 0"),
        ("[]", "not a file that data sigmas wrote"),
        ("{", "not a file that data sigmas wrote"),
    ):
        path.write_text(content)
        with pytest.raises(PoseError, match=says):
            similarity_by(str(path), OWN)
    with pytest.raises(PoseError, match="which is not there: default, numbers, or a file"):
        similarity_by("nowhere.json", OWN)
    with pytest.raises(PoseError, match=r"data\.metric\.sigmas"):
        similarity_by([0.1], OWN)
