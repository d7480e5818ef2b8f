"""The engine of `hydra/launcher=processes`: each job is a process of its own, so none can take the others along."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from featherpose.errors import PoseError
from featherpose.runs import alerts
from featherpose.sweeps.command import child_command
from featherpose.sweeps.display import Progress, print_table
from featherpose.sweeps.job import Job, Slots, visible_gpus
from featherpose.sweeps.refusals import (
    refuse_no_jobs,
    refuse_what_none_can_run,
    training_of,
)
from featherpose.sweeps.sweep_file import SweepFile, earlier_sweep


class Feed(Protocol):
    """Who has more jobs for free slots: a search, whose trials' numbers are those of its jobs."""

    trials: int  # how many there will be

    def next(self) -> tuple[int, list[str]] | None: ...
    def ended(self, number: int, folder: Path) -> None: ...
    def closed(self) -> int: ...


class Processes:
    """Starts `python src/train.py <overrides of the job>` once per job, so many at a time as there are slots.

    An exception, `sys.exit` or a kill of one job is recorded and the others go on; memory ends with each process;
    Lightning's DDP, which starts the command line again for each rank, starts that job only.

    Args:
        n_jobs: slots; null: one per GPU (`gpus_per_job` for each), or one on a machine without.
        gpus_per_job: how many GPUs each slot owns.
        threads: of each job's CPU arithmetic; null: the cores shared out among the slots.
    """

    def __init__(
        self,
        hydra_context: HydraContext,
        config: DictConfig,
        n_jobs: int | None = None,
        gpus_per_job: int = 1,
        threads: int | None = None,
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.n_jobs = n_jobs
        self.gpus_per_job = gpus_per_job
        self.threads = threads
        self.stopping: int | None = None
        self.running: list[Job] = []
        self.feed: Feed | None = None

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if not job_overrides:
            asked: Any = OmegaConf.to_container(self.config.hydra.overrides.task, resolve=False)
            refuse_no_jobs(asked, self.hydra_context.config_loader)
        # Which jobs there are, and what none of them could run with
        limit = OmegaConf.select(self.config, "sweep.limit")
        if limit is not None and limit < len(job_overrides):
            print(f"sweep.limit={limit}: the first {limit} of {len(job_overrides)} jobs")
            job_overrides = job_overrides[:limit]
        sweep, planned = self.plan(job_overrides, initial_job_idx)
        jobs = list(dict.fromkeys(planned))  # two that are the same training are one job
        waiting = [job for job in jobs if job.to_run()]
        searching = self.searching
        if not searching or initial_job_idx == 0:  # a search comes again and again with such jobs
            refuse_what_none_can_run(waiting)
        sweep.write()
        # Run them; a signal asks them to save and stop
        slots = Slots(self.n_jobs, self.gpus_per_job, visible_gpus(), self.threads)
        done = len(jobs) - len(waiting)
        total = self.feed.trials if self.feed else len(jobs)
        progress = Progress(sweep.folder, total, done, slots.count, head=not searching)
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with progress:
                self._run(waiting, slots, sweep, progress)
        finally:
            for job in self.running:
                job.kill()
            for number, handler in before.items():
                signal.signal(number, handler)
            if not searching:  # which shows all its jobs at its end
                print_table(jobs, sweep.folder)
                self._tell(jobs, sweep.folder)
        if self.stopping is not None:
            raise SystemExit(128 + self.stopping)
        # What the sweeper gets of them
        bad = sum(job.state != "finished" for job in jobs)
        trouble = PoseError(
            f"{bad} of {len(jobs)} jobs did not finish; the table above says why. "
            "The same command with sweep.resume=true runs only what is missing or failed."
        )
        if bad and not searching:
            raise trouble
        return [self._result(job, trouble) for job in planned]

    @property
    def searching(self) -> bool:
        return not self.config.hydra.sweeper._target_.endswith("BasicSweeper")

    def plan(
        self, job_overrides: Sequence[Sequence[str]], first: int
    ) -> tuple[SweepFile, list[Job]]:
        """The sweep's file and its jobs, each with its folder; those of an earlier sweep keep theirs.

        Jobs that are the same training are the same `Job`.
        """
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        wanted = [
            [o for o in overrides if not o.startswith(("sweep.resume=", "sweep.force="))]
            for overrides in job_overrides
        ]
        resume = OmegaConf.select(self.config, "sweep.resume", default=False)
        force = bool(OmegaConf.select(self.config, "sweep.force", default=False))
        if resume:
            folder = earlier_sweep(folder, wanted, resume)
        sweep = SweepFile(folder)
        if sweep.jobs and first == 0 and not resume and not self.searching:
            raise PoseError(
                f"{folder} holds a sweep already: go on with it by sweep.resume=true, or name another."
            )
        # Each job has the folder that it had, or a new one; a second job of the same training is the first one
        jobs: list[Job] = []
        trainings: dict[str, Job] = {}
        for number, overrides in enumerate(wanted, start=first):
            known = sweep.find(overrides) if resume else None
            if known is None:
                taken = resume and sweep.has(number)
                number = sweep.next_number() if taken else number
            else:
                number = known["number"]
            cfg = self._compose(overrides, number, folder)
            training = training_of(cfg)
            if training in trainings:
                twin = trainings[training]
                print(f"{' '.join(overrides)}: the same training as {' '.join(twin.overrides)}")
                jobs.append(twin)
                continue
            job_folder = Path(known["folder"]) if known else folder / str(cfg.hydra.sweep.subdir)
            command = child_command(
                sys.argv, overrides, self.config.hydra.overrides.hydra, folder, job_folder, number
            )
            state = sweep.state_of(known)
            job = Job(number, list(overrides), job_folder, command, cfg, state, force=force)
            jobs.append(job)
            trainings[training] = job
            sweep.add(job)
        return sweep, jobs

    def _compose(self, overrides: Sequence[str], number: int, folder: Path) -> DictConfig:
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
            cfg.hydra.sweep.dir = str(folder)
        HydraConfig.instance().set_config(cfg)  # `hydra.sweep.subdir` is resolved by it
        return cfg

    def _run(self, waiting: list[Job], slots: Slots, sweep: SweepFile, progress: Progress) -> None:
        ask, trouble = True, None
        while self.running or (waiting and self.stopping is None):
            if ask and self.feed is not None and self.stopping is None:
                ask = False  # until the next job has ended
                try:
                    waiting += self._further(self.feed, slots.free - len(waiting), sweep)
                    progress.completed(self.feed.closed())
                except Exception as error:  # the others come to their end first
                    trouble, self.feed = error, None
            while waiting and self.stopping is None and (slot := slots.take()) is not None:
                job = waiting.pop(0)
                self.running.append(job)
                progress.started(job)
                job.start(slot)
            for job in [job for job in self.running if job.ended()]:
                self.running.remove(job)
                slots.give_back(job.slot)
                sweep.add(job)
                sweep.write()
                progress.ended(job)
                if self.feed is not None:
                    self.feed.ended(job.number, job.folder)
                    ask = True
            time.sleep(0.1)
        if trouble is not None:
            raise trouble

    def _further(self, feed: Feed, room: int, sweep: SweepFile) -> list[Job]:
        found: list[Job] = []
        with open_dict(self.config):
            self.config.sweep.resume = True  # of this sweep
        while len(found) < room and (asked := feed.next()):
            number, overrides = asked
            _, (job,) = self.plan([overrides], number)
            if job.to_run():
                sweep.add(job)
                found.append(job)
            else:
                feed.ended(number, job.folder)
        sweep.write()
        return found

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The jobs are in sessions of their own: the first signal asks each to save and stop, the second kills them."""
        again, self.stopping = self.stopping is not None, number
        for job in self.running:
            job.kill() if again else job.signal(number)

    def _tell(self, jobs: list[Job], folder: Path) -> None:
        """With `callbacks=alerts` the sweep's end is told once, beside what each job tells of itself."""
        wanted = OmegaConf.select(self.config, "callbacks.alerts")
        if wanted:
            done = sum(job.state == "finished" for job in jobs)
            sentence = f"{folder.name}: the sweep has ended, {done} of {len(jobs)} jobs finished"
            alerts.tell(folder, sentence, wanted.get("command"))

    def _result(self, job: Job, trouble: PoseError) -> JobReturn:
        result = JobReturn(
            overrides=job.overrides, working_dir=str(job.folder), task_name="processes"
        )
        result.cfg = OmegaConf.masked_copy(job.cfg, [str(key) for key in job.cfg if key != "hydra"])
        result.hydra_cfg = OmegaConf.masked_copy(job.cfg, "hydra")
        good = job.state == "finished"
        result.status, result.return_value = (
            (JobStatus.COMPLETED, job.score()) if good else (JobStatus.FAILED, trouble)
        )
        return result
