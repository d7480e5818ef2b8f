"""The notebooks run from top to bottom on real tiny runs, show pictures, and are kept without outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = {  # how many pictures or plots each must show
    "inspect_run": 5,
    "compare_ablation": 3,
    "analyse_errors": 5,
    "look_at_data": 3,
}


def test_no_notebook_is_forgotten(root: Path) -> None:
    assert {path.stem for path in (root / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, root: Path, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERPOSE_RUNS", str(sweep.parents[1]))
    monkeypatch.setenv("RUN", str(next(sweep.glob("1_*"))))
    monkeypatch.setenv("OTHER", str(next(sweep.glob("3_*"))))
    monkeypatch.setenv("SWEEP", str(sweep))
    monkeypatch.setenv("DATA", "data=synthetic augment=lapx data.people.train=12 data.people.val=4")
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join(filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")])),
    )
    notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    notebook.metadata.kernelspec["name"] = "python3"
    client = NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(root)}}
    )
    client.execute()
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    pictures = [o for o in outputs if "data" in o and {"image/jpeg", "image/png"} & set(o["data"])]
    assert len(pictures) >= NOTEBOOKS[name]
    assert not [o for o in outputs if o["output_type"] == "error"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_kept_without_outputs(name: str, root: Path) -> None:
    notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert (root / "notebooks" / f"{name}.ipynb").stat().st_size < 12_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_first_cell_is_one_line(name: str, root: Path) -> None:
    notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith("from featherpose.notebook import ")
    assert "\n" not in first.source


def test_the_kernel_is_this_python() -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    assert Path(KernelSpecManager().get_kernel_spec("python3").resource_dir).is_relative_to(
        Path(sys.prefix)
    )
