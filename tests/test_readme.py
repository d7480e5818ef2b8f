"""The commands of README and docs: every one composes, and the make targets exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override

from featherpose.cli.app import arrange

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def commands(kind: str) -> list[tuple[str, str]]:
    """(page, command) of every line in a shell block that starts so; continued lines are joined."""
    found = []
    for page in PAGES:
        for block in re.findall(
            r"```(?:bash|sh|shell)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S
        ):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(rf"(?:^|\s|&& ){kind}\b.*", line.split(" # ")[0].split("  #")[0])
                if match:
                    found.append((page.name, match[0].strip().removeprefix("&& ")))
    return found


def first_of(override: Override) -> str:
    """One job of a sweep."""
    if not override.is_sweep_override():
        return str(override.input_line)
    key = override.get_key_element()
    if isinstance(override.value(), Glob):
        options = [p.stem for p in (ROOT / "conf" / key).glob("*.yaml")]
        return f"{key}={override.value().filter(options)[0]}"  # ty: ignore
    return f"{key}={next(iter(override.sweep_string_iterator()))}"


VERBS = commands(r"python src/\w+\.py")


@pytest.mark.parametrize(
    ("page", "command"), VERBS, ids=[f"{page}: {command}" for page, command in VERBS]
)
def test_every_documented_command_composes(page: str, command: str) -> None:
    _, script, *words = shlex.split(command)
    verb = Path(script).stem
    assert (ROOT / script).is_file()
    words = [
        word for word in words if not word.startswith("resume=")
    ]  # replaced by the run's own overrides
    words = [word for word in arrange(verb, words) if word not in ("-m", "--multirun")]
    if any(word.startswith("-") for word in words):
        pytest.skip("an option of Hydra itself")
    overrides = [first_of(o) for o in OverridesParser.create().parse_overrides(words)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose(verb, overrides)


@pytest.mark.parametrize(
    "script", sorted({c.split()[1] for _, c in commands(r"(?:python|bash) scripts/[\w.]+")})
)
def test_every_documented_script_is_there(script: str) -> None:
    assert (ROOT / script).is_file()


@pytest.mark.parametrize("target", sorted({c.split()[1] for _, c in commands("make")}))
def test_every_documented_make_target_exists(target: str) -> None:
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
