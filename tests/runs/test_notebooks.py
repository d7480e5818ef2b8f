"""The notebooks run through on real tiny runs, show something after each cell, and are kept without outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = {  # how many pictures or plots each must show
    "inspect_run": 5,
    "compare_ablation": 3,
    "compare_runs": 7,
    "analyse_errors": 2,
    "gamma": 6,
    "look_at_data": 3,
    "own_people": 3,
}
SMALL = "model=repose data=synthetic data.people.train=12 data.people.val=4"
FIRST = "import featherpose.runs.notebook; "


@pytest.fixture(scope="module")
def kernel(root: Path, sweep: Path) -> Iterator[KernelManager]:
    """One for all notebooks: torch is imported once. What a notebook has set is cleared before the next."""
    python_path = filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")])
    environment = {
        **os.environ,
        "FEATHERPOSE_RUNS": str(sweep.parents[1]),
        "PYTHONPATH": os.pathsep.join(python_path),
    }
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(root / "notebooks"))
    yield manager
    manager.shutdown_kernel(now=True)


def read(root: Path, name: str) -> NotebookNode:
    return nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_notebook_is_forgotten(root: Path) -> None:
    assert {path.stem for path in (root / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, root: Path, kernel: KernelManager) -> None:
    notebook = read(root, name)
    first = code_cells(notebook)[0]
    first.source = first.source.replace("model=lapx data=synthetic", SMALL)
    for cell in code_cells(notebook):
        cell.source = cell.source.replace("PEOPLE, EPOCHS = 200, 3", "PEOPLE, EPOCHS = 20, 1")
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, timeout=200, km=kernel)
    client.execute(cleanup_kc=False)
    assert client.kc is not None
    client.kc.stop_channels()  # else it warns whenever it is collected, in the midst of another test
    cells = code_cells(notebook)[1:]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert not [cell.source for cell in cells if not cell.outputs], "cells that show nothing"
    pictures = [o for o in outputs if "data" in o and {"image/jpeg", "image/png"} & set(o["data"])]
    assert len(pictures) >= NOTEBOOKS[name]
    if name == "look_at_data":  # the network's stride: RePose's heatmaps are as large as its crops
        assert "crops 128x128, heatmaps 128x128" in str(cells[0].outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_kept_without_outputs(name: str, root: Path) -> None:
    for cell in code_cells(read(root, name)):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert (root / "notebooks" / f"{name}.ipynb").stat().st_size < 12_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_first_cell_is_one_line(name: str, root: Path) -> None:
    first = code_cells(read(root, name))[0].source
    assert FIRST in first
    assert "\n" not in first
    if name in ("inspect_run", "analyse_errors", "gamma"):
        assert first == FIRST + 'run = featherpose.runs.open("last"); run'


def test_the_kernel_is_this_python() -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    assert Path(KernelSpecManager().get_kernel_spec("python3").resource_dir).is_relative_to(
        Path(sys.prefix)
    )
