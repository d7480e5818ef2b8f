"""Weights between two trainings of one network, in a file that everything opens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.training.mixing import write_mixed
from featherpose.zoo.checkpoint import load_checkpoint


@pytest.fixture
def seeds(sweep: Path) -> tuple[Path, Path]:
    """Two runs that differ in the seed alone."""
    runs = {run.name: run for run in sweep.iterdir() if (run / "checkpoints").is_dir()}
    two = [load_checkpoint(run) for run in runs.values()]
    (first, second) = [each.path for each in two if each.description["model"]["stages"] == 2]
    return first, second


def test_each_number_lies_between_both(seeds: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = seeds
    write_mixed(tmp_path / "mixed.ckpt", {str(first): 0.25, str(second): 0.75})
    mixed = load_checkpoint(tmp_path / "mixed.ckpt")
    one, two = load_checkpoint(first), load_checkpoint(second)
    assert any(not torch.equal(value, two.weights[name]) for name, value in one.weights.items())
    for name, value in mixed.weights.items():
        wanted = 0.25 * one.weights[name].double() + 0.75 * two.weights[name].double()
        torch.testing.assert_close(value, wanted.to(value.dtype), rtol=1e-6, atol=1e-7)
    assert mixed.description == one.description
    assert mixed.network()(torch.zeros(1, 3, 64, 64))[-1].shape[1] == len(one.skeleton)
    assert "optimizer_states" not in torch.load(tmp_path / "mixed.ckpt", weights_only=True)


def test_the_whole_of_one_is_that_one(seeds: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = seeds
    write_mixed(tmp_path / "mixed.ckpt", {str(first): 1.0, str(second): 0.0})
    mixed, one = load_checkpoint(tmp_path / "mixed.ckpt"), load_checkpoint(first)
    assert all(torch.equal(mixed.weights[name], value) for name, value in one.weights.items())


def test_what_does_not_add_up_or_fit_is_refused(
    seeds: tuple[Path, Path], sweep: Path, tmp_path: Path
) -> None:
    first, second = seeds
    with pytest.raises(PoseError, match=r"add up to 1\.1"):
        write_mixed(tmp_path / "mixed.ckpt", {str(first): 0.5, str(second): 0.6})
    with pytest.raises(PoseError, match="not"):
        write_mixed(tmp_path / "mixed.ckpt", {str(first): 0.5, "light": 0.5})
    assert not (tmp_path / "mixed.ckpt").exists()


def test_as_it_is_typed(root: Path, python: str, seeds: tuple[Path, Path], tmp_path: Path) -> None:
    command = [python, str(root / "scripts" / "mix_weights.py")]

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path)

    done = typed("mixed.ckpt", *(f"{seed}=0.5" for seed in seeds))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mixed.ckpt: 0.5 ") and (tmp_path / "mixed.ckpt").is_file()
    for wrong in ([], ["mixed.ckpt"], ["mixed.ckpt", f"{seeds[0]}=1"], ["m.ckpt", "a=x", "b=1"]):
        done = typed(*wrong)
        assert done.returncode == 2 and "python scripts/mix_weights.py" in done.stderr
    done = typed("mixed.ckpt", "nothing=0.5", "light=0.5")
    assert done.returncode != 0 and done.stderr == "error: There is no checkpoint nothing.\n"
