"""From the command line to a verb's `main(cfg)`: puts flags in order, composes, and turns errors into sentences."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from featherpose import __version__
from featherpose.cli import groups, named_runs, own_conf, refused, resume
from featherpose.errors import PoseError, UsageError, known
from featherpose.machine import keep_freed_memory
from featherpose.overrides import experiments
from featherpose.overrides.quoting import quoted
from featherpose.place import CHECKOUT, CONF, command

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRACEBACK = "FEATHERPOSE_TRACEBACK"
VERB = "FEATHERPOSE_VERB"
# The verbs that Hydra composes a config for
COMPOSED = ("train", "evaluate", "predict", "export", "benchmark")
# What `featherpose --help` lists; those that Hydra does not know are functions of the module named
VERBS = {
    "train": "train a network, or a sweep of them",
    "evaluate": "score a checkpoint, weights, an exported file or a file of predictions",
    "predict": "poses in pictures, videos, cameras",
    "export": "ONNX, OpenVINO, int8: checked against the network before it is written",
    "export card": "bare weights and a model card for finished runs",
    "verify": "does a bundle give what it should on this machine, and how fast",
    "benchmark": "sizes, latency, data, training, logging, evaluation, export: measured here",
    "runs": "list, show, diff, table, report, curves, samples, status, watch, command, pack, upload, workspace",
    "sweep": "how a sweep stands; go on with it",
    "schedule": "a picture of learning rate and gamma over the epochs",
    "zoo": "weights that are known by name: list, show, get, identify",
    "data get": "fetch COCO, MPII or LSP from the official pages",
    "data import": "your own labels (CVAT, Label Studio, YOLO, CSV, SLEAP, DeepLabCut) as a data set",
    "data check": "what is wrong with a dataset on disk",
    "data hardest": "what to label next: the pictures that a network doubts most",
    "data sigmas": "how exactly people label: sigmas for OKS from pictures that were labelled twice",
    "data paint": "write painted people in an official format",
}
# Hydra's own options; those with a value take the next word, or come as --option=value
VALUED = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn")
VALUED += ("--config-dir", "-cd", "--experimental-rerun", "--shell-completion", "-sc")
BARE = ("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--info", "-i")
MULTIRUN = ("-m", "--multirun")
# What a value may hold without quotes
IN_HYDRAS_GRAMMAR = r"[A-Za-z0-9_ /\\+.%*@?|:-]*"
NO_TEXT = r"(?i)[+-]?[0-9_.]+(e[+-]?[0-9]+)?|true|false|inf|nan"
# Settings whose value is a name or a place, whatever it looks like: 2024_05_12 is no number, a,b.jpg no sweep
NAMES = (
    *"source out boxes checkpoint weights onnx predictions crops bundle web init".split(),
    *"data.root data.detections data.cache_folder loss.teacher paths.runs paths.data".split(),
)
# What a word without a key stands for
FIRST = {"predict": "source", "evaluate": "checkpoint", "export": "checkpoint"}


def main(*words: str) -> None:
    """`featherpose VERB ...`: by the words given, or by the arguments of this process."""
    asked = list(words or sys.argv[1:])
    if os.environ.get(VERB) and not any(" ".join(asked[:n]) in VERBS for n in (1, 2)):
        asked = [os.environ[VERB], *asked]  # a rank or a job, which is started by overrides alone
    if not asked or asked[0] in ("-h", "--help", "help"):
        print(overview())
        sys.exit(0 if asked else 2)
    if asked[0] == "--version":
        print(f"featherpose {__version__}")
        sys.exit(0)
    name = " ".join(asked[:2]) if " ".join(asked[:2]) in VERBS else asked[0]
    rest = asked[len(name.split()) :]
    if name in COMPOSED:
        os.environ[VERB] = name
        sys.argv[1:] = rest
        launch(name)
        return
    sys.exit(guarded(lambda: call(name, rest)))


def overview() -> str:
    """What `featherpose --help` shows."""
    lines = [f"  {verb:<12} {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "Train, compare and ship lightweight 2D human pose networks.",
            "",
            "  featherpose train                                 LAPX on painted people",
            "  featherpose evaluate checkpoint=runs/train/RUN",
            "  featherpose predict checkpoint=runs/train/RUN source=picture.jpg",
            "",
            "== Verbs (featherpose VERB --help) ==",
            *lines,
        ]
    )


def call(name: str, words: list[str]) -> int:
    """A verb that Hydra does not know, e.g. `data get`."""
    if name not in VERBS:
        group = [verb for verb in VERBS if verb.startswith(f"{name} ")]
        near = group or get_close_matches(name, VERBS, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"There is no verb {name}.{hint} featherpose --help lists them.")
    module = importlib.import_module(f"featherpose.cli.{name.replace(' ', '_')}")
    return module.main(words)


def launch(verb: str) -> None:
    """Runs `featherpose.cli.<verb>.main` under Hydra with the arguments of this process."""

    def composed() -> int:
        sys.argv[1:] = arrange(verb, sys.argv[1:])
        _run(verb)
        return 0

    code = guarded(composed)
    if code:
        sys.exit(code)


def guarded(run: Callable[[], int]) -> int:
    """Its exit code; what goes wrong is one sentence."""
    prepare_environment()
    try:
        return run()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return report(error)


def prepare_environment() -> None:
    os.environ.setdefault(
        "NO_ALBUMENTATIONS_UPDATE", "1"
    )  # its import asks the network for a newer version
    os.environ.setdefault(
        "HYDRA_FULL_ERROR", "1"
    )  # errors reach `report` instead of Hydra's own printing
    os.environ.setdefault(
        "FEATHERPOSE_RUN_ID", secrets.token_hex(2)
    )  # two runs of one second keep apart
    # where runs/ and data/ lie: here. A sweep asks before Hydra knows its own `hydra:runtime.cwd`
    os.environ.setdefault("FEATHERPOSE_ROOT", os.getcwd())
    os.environ.pop(
        "WANDB_SERVICE", None
    )  # a caller's W&B process still holds the id of a run that was killed under it
    keep_freed_memory()


def arrange(verb: str, arguments: list[str]) -> list[str]:
    """Options first, then overrides: Hydra takes them in no other order.

    `latency` means `benchmark=latency`, and `format=onnx,litert` is a list where nothing is swept.
    """
    if "--traceback" in arguments:
        os.environ[TRACEBACK] = "1"
    words = [a for a in arguments if a != "--traceback"]
    options, overrides = options_and_overrides(words)
    if verb == "benchmark" and overrides and re.fullmatch(r"[a-z_]+", overrides[0]):
        overrides[0] = f"benchmark={overrides[0]}"
    multirun = [a for a in options if a in MULTIRUN][:1]
    options = [a for a in options if a not in MULTIRUN]
    if multirun and any(a.partition("=")[0] in ("--cfg", "-c") for a in options):
        raise UsageError(
            "--cfg shows what one run is composed to: leave -m out, and one value each."
        )
    if CHECKOUT is None and {"--help", "-h"} & set(options):
        overrides.append(f"hydra.help.app_name='{command(verb)}'")
    if verb == "export" and not multirun:
        overrides = [re.sub(r"^format=(\w+(?:,\w+)+)$", r"format=[\1]", word) for word in overrides]
    refuse_what_is_no_setting(verb, overrides)
    words = [*multirun, *named_runs.expand(verb, overrides)]
    expanded = resume.expand(words) if verb == "train" else words
    return [*options, *(as_hydra_reads_it(word, bool(multirun)) for word in expanded)]


def refuse_what_is_no_setting(verb: str, overrides: list[str]) -> None:
    bare = next((word for word in overrides if not re.match("~|.+=", word)), None)
    if bare is not None:
        hint = f"{FIRST[verb]}={bare}" if verb in FIRST else "schedule.epochs=3"
        raise UsageError(f"{bare} is no setting; those are written key=value, e.g. {hint}.")
    sources = [word.partition("=")[2] for word in overrides if word.startswith("source=")]
    listed = any(
        re.fullmatch(r"\[.*,.*\]", value) and not Path(value).exists() for value in sources
    )
    if len(sources) > 1 or listed:
        raise UsageError(
            "source= takes one picture, video or folder, or a pattern in quotes: 'source=*.jpg'."
        )


def as_hydra_reads_it(word: str, sweeps: bool = False) -> str:
    """A setting, its value in quotes where it is plain text that Hydra's grammar refuses, e.g. `source=Köln (1).jpg`.

    Lists, mappings, sweeps, references, functions and what is quoted already are left as they are; of names and places
    only references and, where jobs are swept, sweeps.
    """
    key, _, value = word.partition("=")
    plain = re.fullmatch(IN_HYDRAS_GRAMMAR, value)
    if key in NAMES and value != "null":
        swept = sweeps and re.search(r",|^\w+\(.*\)$", value)
        if (
            swept
            or re.search(r"\$\{|^['\"]", value)
            or (plain and not re.fullmatch(NO_TEXT, value))
        ):
            return word
    elif plain or re.search(r'[\[\]{}",$]|^\'|^\w+\(.*\)$', value):
        return word
    return f"{key}={quoted(value)}"


def options_and_overrides(words: list[str]) -> tuple[list[str], list[str]]:
    """Which words are Hydra's options (with their values) and which are overrides, wherever they stand."""
    options: list[str] = []
    overrides: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name = word.partition("=")[0]
        if not word.startswith("-"):
            overrides.append(word)
        elif word in ("--info", "-i"):  # its value may be left out
            value = left.pop(0) if left and "=" not in left[0] else "all"
            options.append(f"{word}={value}")
        elif word in VALUED:
            options += [word, *left[:1]]
            left = left[1:]
        elif word in (*BARE, *MULTIRUN) or name in (*VALUED, "--info", "-i"):
            options.append(word)
        else:
            raise UsageError(
                f"There is no option {word}. Settings are written key=value, e.g. schedule.epochs=3; "
                "--help lists them."
            )
    return options, overrides


def _run(verb: str) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import ConfigCompositionException
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from featherpose.overrides import unread

    OmegaConf.register_new_resolver("groups", groups.listed, replace=True)
    if own_conf.own_conf():
        # Modules that its files name lie beside it; last, so that they shadow nothing
        sys.path.append(str(Path.cwd()))

    def judged(cfg: DictConfig) -> float | None:
        unread.refuse(cfg)
        for file in own_conf.taken():
            print(f"from this folder: {file}")
        return importlib.import_module(f"featherpose.cli.{verb}").main(cfg)

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=verb)
    def task(cfg: DictConfig) -> float | None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            # the launcher records what fails and goes on; an exit would end a Ray worker
            return judged(cfg)
        try:
            return judged(cfg)
        except Exception as error:
            if isinstance(error, PoseError):
                refused.forget(Path(HydraConfig.get().runtime.output_dir), verb)
            raise SystemExit(report(error)) from None

    try:
        task()
    except ConfigCompositionException as error:
        lost = re.match(r"Could not override '([^']+)'", str(error))
        if lost is None:
            raise
        raise UsageError(_unknown_key(verb, lost[1])) from error


def report(error: BaseException) -> int:
    """Prints the error as people can use it and gives the exit code."""
    code, sentence = describe(error)
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    print(f"error: {sentence}", file=sys.stderr)
    return code


def describe(error: BaseException) -> tuple[int, str]:
    """The exit code and one clear sentence of any error."""
    found = known(error)
    if found:
        return found
    from hydra.errors import (
        ConfigCompositionException,
        MissingConfigException,
        OverrideParseException,
    )
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException):
        return UsageError.exit_code, _unknown_choice(error)
    if isinstance(error, OverrideParseException) and "NoneType is incompatible" in str(error):
        text = f"{error.override}: choice(...) takes no null; write KEY=null,a,b instead."
        return UsageError.exit_code, text
    if isinstance(error, (OverrideParseException, ConfigCompositionException)):
        return UsageError.exit_code, _first_lines(error)
    if isinstance(error, OmegaConfBaseException):
        return 1, f"The configuration does not resolve: {_first_lines(error)}"
    if "does not support sweep type" in str(error):
        return UsageError.exit_code, "interval(...) is for searches: add hydra/sweeper=search."
    kind = type(error).__name__
    return 1, f"{kind}: {_first_lines(error)} (run it again with --traceback to see where)"


def _unknown_choice(error: BaseException) -> str:
    missing = getattr(error, "missing_cfg_file", None) or ""
    offered = getattr(error, "options", None) or []
    options = [option for option in offered if not option.startswith("_")]  # those are parents
    group, _, choice = str(missing).removesuffix(".yaml").rpartition("/")
    if group == "experiment" and choice in experiments.SAME_TRAINING:
        return experiments.sentence(choice)
    near = get_close_matches(choice, options, n=3, cutoff=0.4)
    if not options:
        return _first_lines(error)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"There is no {group}={choice}; {hint}Known: {', '.join(options)}."


def _unknown_key(verb: str, key: str) -> str:
    from hydra import initialize_config_dir

    from featherpose.overrides.unread import hint

    _, words = options_and_overrides(sys.argv[1:])
    choices = [word for word in words if groups.is_group(word.partition("=")[0])]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        near = hint(key, verb, choices)
    return f"There is no setting {key}{near}. --cfg job shows them all; +{key}=VALUE adds what a class of yours takes."


def _first_lines(error: BaseException, count: int = 3) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:count]) or type(error).__name__
