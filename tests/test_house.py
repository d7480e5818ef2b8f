"""The floors of the house: no import goes up, none goes in a circle, and the plan names what is there.

Imports inside functions count too; those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from featherpose.errors import EXTRAS

# What each room may import besides the words. Whatever is not named here it may not.
FLOORS = {
    "words": set(),
    "models": set(),
    "metrics": set(),
    "synthetic": set(),
    "runs": set(),
    "data": {"metrics"},
    "overrides": set(),
    "importing": set(),
    "sweeps": {"runs", "overrides"},
    "zoo": {"models"},
    "inference": {"models", "zoo"},
    "teaching": {"models", "data", "zoo", "inference", "export"},
    "training": {"overrides", "models", "metrics", "data", "runs", "zoo", "inference"},
    "evaluation": {"models", "metrics", "data", "runs", "zoo", "inference"},
    "export": {"models", "data", "runs", "zoo", "inference"},
    "benchmarks": {
        *("overrides", "models", "metrics", "data", "synthetic", "runs", "zoo"),
        *("inference", "training", "evaluation", "export"),
    },
}
FREE = {"cli"}  # stands on all
DOORS = {"__init__", "__main__"}  # the package's own names are loaded when they are asked for
# Libraries that a room does without: prediction loads no trainer, words need no framework of configs
WITHOUT = {
    "words": {"lightning", "hydra", "omegaconf", "wandb"},
    "models": {"lightning", "hydra", "omegaconf", "wandb"},
    "metrics": {"lightning", "hydra", "omegaconf", "wandb"},
    "zoo": {"lightning", "hydra", "omegaconf", "wandb"},
    "inference": {"lightning", "hydra", "omegaconf", "wandb"},
    "runs": {"lightning", "torch"},
}


def modules(root: Path) -> dict[str, Path]:
    folder = root / "src" / "featherpose"
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room(module: str, root: Path) -> str:
    first = module.partition(".")[0]
    return first if (root / "src" / "featherpose" / first).is_dir() else "words"


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, at_once: bool = False) -> Iterator[str]:
    """Every module that a file imports, wherever the import stands, but for type checkers.

    `at_once`: without the imports inside functions.
    """
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        waiting += ast.iter_child_nodes(node)


def inner(path: Path, known: dict[str, Path], at_once: bool = False) -> set[str]:
    """The project's own modules that a file imports."""
    found = set()
    for name in imports(path, at_once):
        if name.split(".")[0] == "featherpose":
            inside = name.removeprefix("featherpose").lstrip(".")
            found.add(inside if inside in known else inside.rpartition(".")[0])
    return found - {""}


def test_no_import_goes_up(root: Path) -> None:
    known = modules(root)
    wrong = set()
    for module, path in known.items():
        here = room(module, root)
        if here in FREE or module in DOORS:
            continue
        for other in inner(path, known):
            if room(other, root) not in {here, "words", *FLOORS[here]}:
                wrong.add(f"{module} imports {other}")
    assert not wrong, "\n".join(sorted(wrong))


def test_no_circle_between_files(root: Path) -> None:
    known = modules(root)
    waiting = {module: inner(path, known) - {module} for module, path in known.items()}
    while leaves := {module for module, others in waiting.items() if not others & waiting.keys()}:
        waiting = {module: others for module, others in waiting.items() if module not in leaves}
    assert not waiting, f"in or behind a circle: {sorted(waiting)}"


@pytest.mark.parametrize("where", WITHOUT)
def test_rooms_do_without_what_they_need_not(where: str, root: Path) -> None:
    for module, path in modules(root).items():
        if room(module, root) == where and module not in DOORS:
            used = {name.split(".")[0] for name in imports(path)}
            assert not used & WITHOUT[where], f"{module} imports {used & WITHOUT[where]}"


def test_callbacks_print_above_the_bar(root: Path) -> None:
    """`print` does, while it is drawn; the verbs' console writes into its line."""
    callbacks = {name: path for name, path in modules(root).items() if ".callbacks." in f".{name}."}
    assert len(callbacks) > 10
    using = [name for name, path in callbacks.items() if "console" in inner(path, modules(root))]
    assert not using


def test_predicting_with_an_exported_file_loads_nothing_of_the_extras(root: Path) -> None:
    known = modules(root)
    waiting = ["cli.app", "cli.predict", "__init__"]
    waiting += [name for name in known if room(name, root) == "inference"]
    waiting.remove("inference.checkpoints")  # torch's own backend, imported where one is asked for
    wrong, seen = set(), set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        for name in imports(known[module], at_once=True):
            if name.partition(".")[0] in {each for extra in EXTRAS.values() for each in extra}:
                wrong.add(f"{module} imports {name}")
        waiting += inner(known[module], known, at_once=True) - seen
    assert not wrong, "\n".join(sorted(wrong))


def test_the_plan_names_every_room_and_word(root: Path) -> None:
    plan = (root / "docs" / "design.md").read_text(encoding="utf-8")
    tree = plan.split("```")[1]
    folder = root / "src" / "featherpose"
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    named = set(re.findall(r"^    ([a-z]+)/", tree, re.MULTILINE))
    assert named == rooms
    words = {path.name for path in folder.glob("[a-z]*.py")}
    listed = set(re.findall(r"\b([a-z_]+\.py)\b", tree.split("    models/")[0]))
    assert words <= listed, f"not on the plan: {sorted(words - listed)}"


def test_every_test_mirrors_a_source_or_says_why(root: Path) -> None:
    """tests/a/test_b.py tests src/featherpose/a/b.py or the room a; whole programs stand in the list."""
    wholes = {
        "test_house",
        "test_configs",
        "test_programs",
        "test_lspet_script",
        "test_skips",
        "test_forks",  # of the tests themselves
        "test_typed_lines",
        "test_wheel",
    }
    wholes |= {"test_documented_commands", "test_every_training"}
    wholes |= {"test_wrong_use", "test_hostile_annotations", "test_hostile_files"}
    wholes |= {"test_damaged_runs", "test_code_execution", "test_full_disks"}
    known = modules(root)
    lost = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        inside = path.relative_to(root / "tests")
        folder = ".".join(inside.parts[:-1])
        module = f"{folder}.{path.stem.removeprefix('test_')}".lstrip(".")
        if path.stem not in wholes and module not in known and not (folder and folder in known):
            lost.append(str(inside))
    assert not lost, f"they mirror no source: {lost}"


def test_python_in_the_docs_imports_what_is_there(root: Path) -> None:
    known = modules(root)
    wrong = []
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        for block in re.findall(
            r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            for node in ast.walk(ast.parse(block)):
                if not isinstance(node, ast.ImportFrom) or not node.module:
                    continue
                where = node.module.removeprefix("featherpose").lstrip(".")
                if node.module.split(".")[0] != "featherpose":
                    continue
                text = known[where or "__init__"].read_text(encoding="utf-8")
                wrong += [
                    f"{page.name}: {node.module} has no {name.name}"
                    for name in node.names
                    if f"{where}.{name.name}".lstrip(".") not in known
                    and not re.search(rf"\b{name.name}\b", text)
                ]
    assert not wrong, "\n".join(wrong)
