"""Where this program lies, in a checkout or installed, and how its commands are typed there."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_ABOVE = PACKAGE.parents[1]
CHECKOUT = _ABOVE if (_ABOVE / "src" / "train.py").is_file() else None
# conf/ lies at the top of the repository and is installed as featherpose/conf
CONF = CHECKOUT / "conf" if CHECKOUT else PACKAGE / "conf"
# Doors of a checkout; whatever is not here is `python src/VERB.py`
_SCRIPTS = {
    "data get": "get_data",
    "data check": "check_data",
    "data paint": "make_synthetic",
    "runs": "runs",
    "schedule": "plot_schedule",
    "export card": "ship",
}


def command(words: str) -> str:
    """`data get mpii` as people type it here: by a checkout's scripts, else by the console command."""
    if CHECKOUT is None:
        return f"featherpose {words}"
    for verb, script in _SCRIPTS.items():
        if f"{words} ".startswith(f"{verb} "):
            return f"python scripts/{script}.py{words.removeprefix(verb)}"
    verb, _, rest = words.partition(" ")
    return f"python src/{verb}.py {rest}".rstrip()
