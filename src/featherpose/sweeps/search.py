"""The engine of `hydra/sweeper=search`: Optuna proposes, the launcher runs, run.json says how it ended."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from featherpose.console import console
from featherpose.errors import PoseError, UsageError
from featherpose.files import locked, write_atomically
from featherpose.overrides.quoting import quoted
from featherpose.runs import commands
from featherpose.runs.heartbeat import died
from featherpose.runs.record import BROKEN_OFF, FAILED, FINISHED, RUNNING, RunRecord
from featherpose.runs.sweep_folder import ANSWER, JOURNAL
from featherpose.sweeps import answer
from featherpose.sweeps import study as studies
from featherpose.sweeps.display import LOG
from featherpose.sweeps.job import held, visible_gpus
from featherpose.sweeps.objectives import OBJECTIVES, values_of
from featherpose.sweeps.space import Point, space_of

LOCK = ".search.lock"  # of the process that proposes or tells
CLAIMS = ".claims"  # a file for each trial, locked by the process that runs it
PAUSE = 1.0  # seconds between two looks at what other processes run
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
HOPELESS = 5  # so many failures without one success end a search
OF_THE_SWEEP = ("sweep.resume=", "sweep.force=", "sweep.limit=")


@dataclass(frozen=True)
class Proposal:
    """One open trial and what its job is told."""

    number: int
    point: Point


class Search:
    """A loop of proposals and launches; everything that it has to remember lies in the sweep's folder.

    Args:
        config: of the sweep, as Hydra composed it.
        launcher: makes Hydra's launcher of a config.
        loader: of configs, which knows the choices of groups.
        settings: the keys of conf/hydra/sweeper/search.yaml.
    """

    def __init__(
        self,
        config: DictConfig,
        launcher: Callable[[DictConfig], Any],
        loader: ConfigLoader | None = None,
        *,
        n_trials: int = 30,
        n_jobs: int | None = None,
        sampler: str = "tpe",
        seed: int = 0,
        objectives: Sequence[str] = ("score",),
        params: Mapping[str, Any] | None = None,
        when: Mapping[str, str] | None = None,
        first: Mapping[str, Any] | None = None,
    ) -> None:
        limit = OmegaConf.select(config, "sweep.limit")
        self.config = config
        self.launcher = launcher
        self.loader = loader
        self.trials = n_trials if limit is None else min(n_trials, limit)
        self.cut = f" of {n_trials} (sweep.limit={limit})" if self.trials < n_trials else ""
        self.at_once = n_jobs or jobs_at_once(config)
        self.sampler = sampler
        self.seed = seed
        self.objectives = list(objectives)
        self.params, self.when, self.first = dict(params or {}), dict(when or {}), dict(first or {})
        self.claims: dict[int, ExitStack] = {}  # of the trials that this process runs
        self.refuse_settings()

    def refuse_settings(self) -> None:
        studies.sampler_of(self.sampler, self.seed, 0, self.trials)
        unknown = [each for each in self.objectives if each not in OBJECTIVES]
        if unknown or not self.objectives:
            raise UsageError(
                f"hydra.sweeper.objectives={self.objectives}: known are {', '.join(OBJECTIVES)}."
            )
        if self.trials < 1 or self.at_once < 1:
            raise UsageError(
                f"hydra.sweeper.n_trials={self.trials} and n_jobs={self.at_once} have to be 1 or more."
            )

    def run(self, arguments: Sequence[str]) -> None:
        words = [each for each in arguments if not each.startswith(OF_THE_SWEEP)]
        if "ms" in self.objectives:
            words = [*words, "search.measure=true"]
        self.space = space_of(words, self.params, self.when, self.loader)
        self.space.read(self.first)
        if self.loader is not None:  # a key that is not there is said before anything is written
            self.loader.load_sweep_config(self.config, self.space.example)
        grid = self.space.grid() if self.sampler == "grid" else []
        self.trials = min(self.trials, len(grid)) if grid else self.trials
        asked = {
            "space": [*words, *(f"{key}={value}" for key, value in sorted(self.params.items()))],
            "when": self.when,
            "objectives": self.objectives,
        }
        self.folder = folder_of_the_search(self.config, asked)
        self.search(asked, grid=bool(grid))

    def search(self, asked: dict[str, Any], grid: bool) -> None:
        directions = [OBJECTIVES[each].direction for each in self.objectives]
        with self.alone():
            write_multirun(self.config, self.folder)
            (self.folder / ANSWER).unlink(missing_ok=True)
            self.study = studies.open_study(self.folder, directions)
            studies.refuse_another(self.study, asked)
            studies.begin(self.study, self.space, self.first, grid)
        console.print(f"{self.trials}{self.cut} trials, {self.at_once} at a time, in {self.folder}")
        try:
            self.work()
        except (SystemExit, KeyboardInterrupt):  # what the launcher tells is where it stopped
            commands.status(self.folder, console)
            raise
        finally:
            for claim in self.claims.values():
                claim.close()
        self.end()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Of all processes that work on this search, one at a time proposes and tells."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / LOCK):
                yield
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise PoseError(
                f"{self.folder} lies on a file system without locks, which a search needs: "
                "name another by hydra.sweep.dir=FOLDER."
            ) from error

    def work(self) -> None:
        """Until all trials are there and told; those that other processes run are waited for."""
        with self.alone():  # what has failed is run again by a process that comes
            self.again = {number for number in self.open_numbers() if self.failed(number)}
        self.tried: set[int] = set()
        shown: list[int] = []
        while True:
            with self.alone():
                left, elsewhere = self.left_open(self.at_once)
                batch = left or self.proposed(self.at_once)
            if batch:
                self.launch(batch)
            if batch or not self.all_proposed():
                continue
            if not elsewhere:
                return
            if elsewhere != shown:
                numbers = ", ".join(f"#{number}" for number in elsewhere)
                console.print(f"  waits for {numbers}, which another process runs")
                shown = elsewhere
            time.sleep(PAUSE)

    def left_open(self, most: int) -> tuple[list[Proposal], list[int]]:
        """Trials that were proposed and not told: those to run here, and those that run elsewhere.

        A kill leaves them, of this search's process or of another's; some have ended meanwhile.
        """
        here: list[Proposal] = []
        elsewhere: list[int] = []
        for number in self.open_numbers():
            claim = self.claim(number)
            if claim is None:
                elsewhere.append(number)
                continue
            with claim:
                if self.tell(number, self.folder_of(number)) or self.given_up(number):
                    continue
                proposal = self.completed(number)
                if self.told_by_twin(proposal):
                    continue
                if self.twin_at_work(proposal):
                    elsewhere.append(number)
                elif len(here) < most:
                    here.append(proposal)
                    self.claims[number] = claim.pop_all()
        return here, elsewhere

    def proposed(self, most: int) -> list[Proposal]:
        """New trials; one that is the same as an earlier one waits for that."""
        if self.all_proposed():
            return []
        asked = len(studies.started(self.study))
        batch = []
        for number in range(asked, min(asked + most, self.trials)):
            studies.propose(self.study, self.sampler_of(number))
            claim = self.claim(number)
            assert claim is not None, "no other process has seen it"
            with claim:
                proposal = self.completed(number)
                if not self.told_by_twin(proposal) and not self.twin_at_work(proposal):
                    batch.append(proposal)
                    self.claims[number] = claim.pop_all()
        return batch

    def open_numbers(self) -> list[int]:
        return [each.number for each in studies.started(self.study) if each.state == studies.OPEN]

    def claim(self, number: int) -> ExitStack | None:
        """Holds a trial for this process until it is closed; None where it runs, here or elsewhere.

        A job may outlive the search that has started it.
        """
        if number in self.claims:
            return None
        (self.folder / CLAIMS).mkdir(exist_ok=True)
        claim = ExitStack()
        try:
            claim.enter_context(locked(self.folder / CLAIMS / str(number), wait=False))
        except BlockingIOError:
            return None
        if not OmegaConf.select(self.config, "sweep.force") and self.runs(number):
            claim.close()
            return None
        return claim

    def runs(self, number: int) -> bool:
        """Whether the job of that number is alive."""
        log = self.folder_of(number, LOG)
        if log is not None and held(log):
            return True
        folder = self.folder_of(number)
        record = RunRecord.read(folder) if folder else None
        return bool(folder and record and record.state == RUNNING and died(folder, record) is None)

    def given_up(self, number: int) -> bool:
        """Whether its job has failed here, or somewhere else since this process began."""
        return number in self.tried or (self.failed(number) and number not in self.again)

    def failed(self, number: int) -> bool:
        folder = self.folder_of(number)
        record = RunRecord.read(folder) if folder else None
        return record is not None and record.state == FAILED

    def sampler_of(self, number: int) -> BaseSampler:
        return studies.sampler_of(self.sampler, self.seed, number, self.trials)

    def completed(self, number: int) -> Proposal:
        point = studies.complete(self.study, self.space, number, self.sampler_of(number))
        return Proposal(number, point)

    def told_by_twin(self, proposal: Proposal) -> bool:
        """The same point is trained once."""
        for known in studies.twins(self.study, self.space, proposal.point, proposal.number):
            if known.state in studies.CLOSED:
                console.print(f"  #{proposal.number} is the same as #{known.number}")
                values = known.values if known.state == TrialState.COMPLETE else None
                self.study.tell(proposal.number, values, known.state)
                return True
        return False

    def twin_at_work(self, proposal: Proposal) -> bool:
        for known in studies.twins(self.study, self.space, proposal.point, proposal.number):
            claim = self.claim(known.number)
            if claim is None:
                return True
            claim.close()
        return False

    def launch(self, proposals: Sequence[Proposal]) -> None:
        """Runs the first of them whose numbers follow each other, for a launcher counts on from the first.

        A launcher that has a `feed` asks for the next trial where one of its slots becomes free, and tells of each
        that has ended at once; any other ends with its last job.
        """
        typed, place = self.config.hydra.overrides, f"hydra.sweep.dir={quoted(str(self.folder))}"
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(self.folder)
            # Hydra's own launchers compose each job's config anew, of what was typed
            typed.hydra = [*(each for each in typed.get("hydra", []) if each != place), place]
            self.config.sweep.limit = None
            # The launcher goes on with the jobs that it knows
            self.config.sweep.resume = (self.folder / "sweep.json").is_file()
        first = proposals[0].number  # a job's number is its trial's
        group = [each for i, each in enumerate(proposals) if each.number == first + i]
        for each in proposals[len(group) :]:
            self.claims.pop(each.number).close()
        launcher = self.launcher(self.config)
        if hasattr(launcher, "feed"):
            launcher.feed = self
        jobs = [self.space.overrides(each.point) for each in group]
        for each, result in zip(group, launcher.launch(jobs, initial_job_idx=first), strict=True):
            if each.number in self.claims:
                self.ended(each.number, Path(result.working_dir))

    def ended(self, number: int, folder: Path) -> None:
        """Tells the study how a job has ended that this process ran."""
        with self.alone():  # so that nobody who looks for what is open takes it up now
            self.tried.add(number)
            self.tell(number, self.folder_of(number) or folder)
            self.claims.pop(number).close()

    def next(self) -> tuple[int, list[str]] | None:
        """Number and overrides of one more trial to run beside those that run; None where there is none now."""
        batch: list[Proposal] = []
        with self.alone():
            if len(self.claims) < self.at_once:
                batch, _ = self.left_open(1)
                while not batch and not self.all_proposed():
                    batch = self.proposed(1)
        return (batch[0].number, self.space.overrides(batch[0].point)) if batch else None

    def closed(self) -> int:
        """How many trials have come to their end."""
        return sum(each.state in studies.CLOSED for each in studies.started(self.study))

    def tell(self, number: int, folder: Path | None) -> bool:
        """Whether a job has come to its end. One that failed stays open: `sweep.resume` runs it again."""
        record = RunRecord.read(folder) if folder else None
        if folder is None or record is None or record.state not in (FINISHED, *BROKEN_OFF):
            return False
        if record.state == FINISHED:
            self.study.tell(number, values_of(record, self.objectives, folder))
        else:
            self.study.tell(number, state=TrialState.PRUNED)
        return True

    def folder_of(self, number: int, file: str = "run.json") -> Path | None:
        """Of the job of that number, whichever launcher has run it."""
        return next(
            (path.parent for path in self.folder.glob(f"*/{file}") if is_job(path, number)), None
        )

    def all_proposed(self) -> bool:
        return len(studies.started(self.study)) >= self.trials or self.hopeless()

    def hopeless(self) -> bool:
        """Whether nothing but failures came of the first jobs."""
        known = studies.started(self.study)
        return len(self.tried) >= HOPELESS and all(each.state == studies.OPEN for each in known)

    def end(self) -> None:
        """The jobs' table, the answer, and how many have failed."""
        with self.alone():
            text = answer.write(self.study, self.space, self.folder, self.objectives, self.loader)
        commands.status(self.folder, console)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        known = studies.started(self.study)
        bad = sum(each.state == studies.OPEN for each in known)
        if bad:
            raise PoseError(
                f"{bad} of {len(known)} jobs did not finish; the table above says why. "
                f"The same command with sweep.resume={self.folder} runs them again and goes on."
            )


def jobs_at_once(config: DictConfig) -> int:
    """As many as the launcher runs side by side: its slots, a cluster's limit, or one for each GPU."""
    launcher = config.hydra.launcher
    given = launcher.get("n_jobs") or launcher.get("array_parallelism")
    per_job = launcher.get("gpus_per_job")
    return given or (len(visible_gpus()) // per_job if per_job else 0) or 1


def folder_of_the_search(config: DictConfig, asked: Mapping[str, Any]) -> Path:
    """A new one, the one that `sweep.resume` names, or the newest beside it that asked the same."""
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    resume = OmegaConf.select(config, "sweep.resume", default=False)
    if not resume:
        for name, kind in ((JOURNAL, "search"), ("sweep.json", "sweep")):
            if (folder / name).is_file():
                raise PoseError(
                    f"{folder} holds a {kind} already: go on with it by sweep.resume={folder}, "
                    "or name another."
                )
        return folder
    if resume is not True:
        named = Path(str(resume)).absolute()
        if not (named / JOURNAL).is_file():
            raise PoseError(f"sweep.resume={resume}: there is no {JOURNAL} in that folder.")
        return named
    found = [path for path in folder.parent.glob(f"*/{JOURNAL}") if studies.asked(path) == asked]
    if not found:
        raise PoseError(
            f"sweep.resume=true: no search in {folder.parent} has this space; give the same overrides as then."
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def write_multirun(config: DictConfig, folder: Path) -> None:
    """What Hydra's own sweeper keeps of a sweep, from which it is taken up."""
    path = folder / "multirun.yaml"
    if not path.is_file():
        write_atomically(path, OmegaConf.to_yaml(config))


def is_job(record: Path, number: int) -> bool:
    return record.parent.name.partition("_")[0] == str(number)
