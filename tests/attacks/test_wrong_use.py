"""Mistakes that people make: wrong names, values, files, and words that do not go together. One sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from .trying import RAW, SMALL, files_of, refused, run

Typed = Callable[[str], Any]
Said = Callable[..., tuple[int, str, str]]

# names that only Hydra, or what stands before it, can refuse: (what is typed, the sentence)
NAMES = {
    "w_train_group": ("train modle=lapx", r"modle \(did you mean model\?\)"),
    "w_train_choice": ("train model=lapxx", r"There is no model=lapxx; did you mean lapx"),
    "w_train_key": (
        "train schedule.epoch=3",
        r"schedule\.epoch \(did you mean schedule\.epochs\?\)",
    ),
    "w_train_lrkey": ("train schedule.lr=1", r"no setting schedule\.lr"),
    "w_train_logger": ("train logger=neptune", r"There is no logger=neptune; Known: csv, mlflow"),
    "w_train_exper": (
        "train experiment=lapx_tabel3_01",
        r"There is no experiment=lapx_tabel3_01; did you mean lapx_table3_01",
    ),
    "w_train_hydra_flag": ("train --rusume", r"There is no option --rusume"),
    "w_train_glob_empty": (
        "train -m 'experiment=glob(nonexist_*)'",
        r"This sweep has no jobs: .* fits nothing",
    ),
    "w_bench_typo": ("benchmark latensy", r"There is no benchmark=latensy; did you mean latency"),
    "w_eval_both": ("evaluate checkpoint=a onnx=b", r"checkpoint and onnx was given"),
}

SETTINGS = {
    # of the schedule
    "w_train_valtype": (
        "schedule.epochs=three",
        r"schedule\.epochs is three; .* whole number of at least 1",
    ),
    "w_train_float_epochs": ("schedule.epochs=1.5", r"schedule\.epochs is 1\.5; .* whole number"),
    "w_train_epochs0": ("schedule.epochs=0", r"schedule\.epochs is 0; .* at least 1"),
    "w_train_epochs_neg": ("schedule.epochs=-1", r"needs schedule\.epochs above 0"),
    "w_train_lr_neg": ("schedule.learning_rate=-1", r"schedule\.learning_rate is -1; .* above 0"),
    "w_train_lr_nan": ("schedule.learning_rate=nan", r"schedule\.learning_rate is nan; .* above 0"),
    "w_train_lr_str": ("schedule.learning_rate=abc", r"schedule\.learning_rate is abc; .* above 0"),
    "w_train_batch0": ("schedule.batch_size=0", r"schedule\.batch_size is 0; .* at least 1"),
    "w_train_batch_neg": ("schedule.batch_size=-4", r"schedule\.batch_size is -4; .* at least 1"),
    "w_train_sched_unit": (
        "schedule.unit=epochs",
        r"There is no schedule\.unit=epochs; known: epoch, step",
    ),
    "w_train_miles_desc": ("schedule.milestones=[0.8,0.4]", r"schedule\.milestones has to rise"),
    "w_train_miles_neg": ("schedule.milestones=[-1]", r"schedule\.milestones\[0\] is -1"),
    "w_train_gamma_share2": (
        "schedule.gamma.freeze=2",
        r"schedule\.gamma: freeze \(2\) .* together at most 1",
    ),
    "w_train_gamma_neg": ("schedule.gamma.target=-1", r"schedule\.gamma\.target is -1"),
    "w_train_gamma_str": ("schedule.gamma.target=abc", r"schedule\.gamma\.target is abc"),
    "w_train_thaw_str": ("freeze.until=abc", r"freeze\.until is abc; .* whole number"),
    "w_train_for_ever": ("trainer.max_epochs=-1", r"would train for ever: schedule\.epochs"),
    "w_train_warmup_neg": ("schedule.warmup=-3", r"schedule\.warmup is -3"),
    # of the data
    "w_train_workers_neg": ("data.workers=-1", r"data\.workers is -1"),
    "w_train_size_63": (
        "data.input_size=[63,64]",
        r"data\.input_size \[63, 64\] must be a multiple of the network's stride, 4",
    ),
    "w_train_size_0": ("data.input_size=[0,0]", r"data\.input_size is 0; .* at least 1"),
    "w_train_size_one": ("data.input_size=64", r"data\.input_size is 64; .* list of 2 numbers"),
    "w_train_size_3": (
        "data.input_size=[64,64,3]",
        r"data\.input_size is \[64, 64, 3\]; .* list of 2 numbers",
    ),
    "w_train_size_neg": ("data.input_size=[-64,64]", r"data\.input_size is -64; .* at least 1"),
    "w_train_people0": ("data.people.train=0", r"data\.people=0.* ask for 1 to"),
    "w_train_people_val0": ("data.people.val=0", r"data\.people=0.* ask for 1 to"),
    "augment_scale_1": ("augment.scale=1", r"augment\.scale is 1; .* list of 2 numbers"),
    "augment_flip_2": ("augment.flip=2", r"augment\.flip is 2; .* from 0 to 1"),
    # of the network, its loss and its scores
    "w_train_stages0": ("model.stages=0", r"stages, depth and joints of at least 1, not \(0,"),
    "w_train_stages_neg": ("model.stages=-2", r"stages, depth and joints of at least 1, not \(-2,"),
    "w_train_sigma0": ("loss.sigma=0", r"loss\.sigma is 0; .* above 0"),
    "w_train_loss_w": (
        "loss.stage_weights=[1,2]",
        r"loss\.stage_weights has 2 numbers for 1 outputs",
    ),
    "loss_reduction": ("loss.reduction=mse", r"There is no loss\.reduction=mse; known:"),
    "w_train_protocol": (
        "protocol.decoder=foo",
        r"There is no protocol\.decoder=foo; known: quarter",
    ),
    "protocol_mean": ("protocol.mean=median", r"There is no protocol\.mean=median; known:"),
    # of the trainer
    "w_train_seed_str": ("seed=abc", r"seed is abc; .* from 0 to 4294967295"),
    "w_train_seed_neg": ("seed=-1", r"seed is -1; .* from 0 to 4294967295"),
    "w_train_precision": ("trainer.precision=7", r"trainer\.precision=7: Precision 7 is invalid"),
    "w_train_acc": ("trainer.accelerator=tpu", r"trainer\.accelerator=tpu"),
    "w_train_gpu": ("trainer=gpu", r"trainer\.accelerator=gpu: this machine has no GPU"),
    "w_train_devices0": ("trainer.devices=0", r"trainer\.devices is 0; .* at least 1"),
    "w_train_accum0": (
        "trainer.accumulate_grad_batches=0",
        r"trainer\.accumulate_grad_batches is 0; .* at least 1",
    ),
    "w_train_clip_neg": (
        "trainer.gradient_clip_val=-1",
        r"trainer\.gradient_clip_val is -1; .* at least 0",
    ),
    "w_train_ema2": (
        "callbacks=ema callbacks.ema.decay=2",
        r"callbacks\.ema\.decay is 2; .* from 0 to 1",
    ),
    # what is not there
    "w_train_ckpt_none": ("ckpt_path=/nonexist.ckpt", r"There is no checkpoint /nonexist\.ckpt"),
    "w_train_mpii_noroot": (
        "data=mpii",
        r"The mpii data is missing .* python scripts/get_data\.py mpii",
    ),
    "w_train_root_missing": (
        "data=lspet data.root=/nonexist",
        r"The lspet data is missing \(/nonexist is not there\)",
    ),
    "w_lspet_root": (
        "data=lspet data.root=/nonexist model.stages=3",
        r"The lspet data is missing \(/nonexist is not there\)",
    ),
    "w_train_coco_root": (
        "data=coco data.root=EMPTY",
        r"empty holds none of annotations/person_keypoints_train2017\.json",
    ),
    "w_train_cache": (
        "data=lspet data.root=LSPET data.read.train=[1,5] data.read.val=[6,10] data.cache=crop",
        r"There is no data\.cache=crop; known: crops, device",
    ),
}


def places(folder: Path) -> tuple[str, ...]:
    """Where a training finds data and leaves its run."""
    return (f"paths.runs={folder}/runs", f"paths.output={folder}/run", f"paths.data={folder}/data")


def errors_of(text: str) -> list[str]:
    return [line.removeprefix("error: ") for line in text.splitlines() if "error: " in line]


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name(name: str, typed: Typed, tmp_path: Path) -> None:
    line, says = NAMES[name]
    answer = typed(line)
    assert answer.code == 2
    (sentence,) = errors_of(answer.err)
    assert re.search(says, sentence), sentence
    assert not RAW.match(sentence)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    line, says = SETTINGS[name]
    if name == "w_train_gpu" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so trainer=gpu is right")
    (tmp_path / "empty").mkdir()
    line = line.replace("EMPTY", str(tmp_path / "empty"))
    if "LSPET" in line:
        line = line.replace("LSPET", str(request.getfixturevalue("tiny_lspet")))
    small = SMALL[1:] if "data=" in line else SMALL  # painted people have a number, others none
    refused("train", (*small, *places(tmp_path), *line.split()), says, tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


class Reached(Exception):
    """The first step would come now."""


@pytest.fixture
def reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., L.Trainer]:
    """A training with these words comes as far as its first step; gives the trainer that would take it."""
    started = []

    def fit(trainer: L.Trainer, *_: Any, **__: Any) -> None:
        started.append(trainer)
        raise Reached

    monkeypatch.setattr(L.Trainer, "fit", fit)

    def run_with(*words: str) -> L.Trainer:
        with pytest.raises(Reached):
            run("train", *SMALL, *places(tmp_path), *words)
        return started[-1]

    return run_with


# silly, or beyond the end of a run as short as this one: said where it matters, and gone on with
ACCEPTED = {
    "w_train_batch_big": "schedule.batch_size=64",
    "w_train_miles_beyond": "schedule.milestones=[50]",
    "w_train_warmup_long": "schedule.warmup=50",
    "w_train_gamma_beyond": "schedule.gamma.unit=epochs schedule.gamma.freeze=30 schedule.gamma.ramp=50",
    "w_train_workers100": "data.workers=100",
    "w_train_stages99": "model.stages=33 model.channels=16",  # 99 take 45 s
    "w_train_minutes": "callbacks.resume.every_minutes=-1",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_silly_setting(name: str, reaches: Callable[..., L.Trainer]) -> None:
    reaches(*ACCEPTED[name].split())


def test_a_recipe_longer_than_its_run_is_warned_of(reaches: Callable[..., L.Trainer]) -> None:
    with pytest.warns(UserWarning, match="ends after 1 epoch, before milestone 50, .* are reached"):
        reaches("schedule.milestones=[50]", "schedule.warmup=20")


def test_of_words_that_contradict_each_other_the_last_counts(
    reaches: Callable[..., L.Trainer],
) -> None:
    """w_train_contradict, w_train_contradict2"""
    assert reaches("schedule.epochs=1", "schedule.epochs=2").max_epochs == 2


# going on with a run
RESUMES = {
    "w_resume_other": ("model=le_hrnet", r"There is no setting model\.|another network"),
    "w_resume_stages": ("model.stages=4", r"is of another network than the one chosen"),
    "w_resume_skel": ("data=synthetic_coco", r"is of the skeleton mpii \(16 joints\)"),
    "w_resume_fewer": ("schedule.epochs=1", r"has 2 epochs behind it"),
    "w_resume_lrneg": ("schedule.learning_rate=-1", r"learning_rate is -1"),
    "w_train_resume_m": ("-m", r"resume= goes on with one run"),
}


@pytest.mark.parametrize("name", RESUMES)
def test_a_run_goes_on_as_what_it_is(name: str, typed: Typed, a_run: Path) -> None:
    word, says = RESUMES[name]
    before = files_of(a_run)
    answer = typed(f"train 'resume={a_run}' {word}")
    assert answer.code in (1, 2), answer.text
    (sentence,) = errors_of(answer.err)
    assert re.search(says, sentence), sentence
    assert files_of(a_run) == before


PLACES = {
    "w_train_resume_none": ("resume=/nonexist", r"that is no run folder"),
    "k_runs_is_file": ("debug=tiny logger=none paths.runs=FILE", r"a-file.* can't be used"),
    "k_proc_runs": ("debug=tiny logger=none paths.runs=/proc/nope", r"/proc/nope.* can't be used"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_cannot_be(name: str, typed: Typed, tmp_path: Path) -> None:
    words, says = PLACES[name]
    (tmp_path / "a-file").write_text("x")
    answer = typed(f"train {words.replace('FILE', str(tmp_path / 'a-file'))}")
    assert answer.code == 1, answer.text
    (sentence,) = errors_of(answer.err)
    assert re.search(says, sentence), sentence
    assert (tmp_path / "a-file").read_text() == "x"


# verbs that Hydra does not know
OTHERS = {
    "w_runs_typo": ("runs lst", 2, r"invalid choice: 'lst'"),
    "w_check_typo": ("data check data=mpi", 2, r"mpi"),
    "w_ms_typo": ("data paint --format mpii --people -5 --out painted", 1, r"-5"),
    "w_plot_typo": ("schedule nolapx", 2, r"There is no schedule=nolapx"),
    "w_get_typo": ("data get coc", 2, r"coc"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_verb(
    name: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, expected, says = OTHERS[name]
    monkeypatch.chdir(tmp_path)
    code, _, complaint = said(*line.split())
    (sentence,) = errors_of(complaint)
    assert re.search(says, sentence), sentence
    assert not RAW.match(sentence)
    assert code == expected
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_network_on_people_of_another_skeleton(checkpoint: Path, tmp_path: Path) -> None:
    """w_eval_wrongdata"""
    words = (f"checkpoint={checkpoint}", "data=synthetic_coco", "workers=0")
    says = r"mpii \(16 joints\), but the data has coco \(17 joints\)"
    refused("evaluate", (*words, f"out={tmp_path}/out"), says, tmp_path)


def test_nothing_to_predict_on(exported: Path, tmp_path: Path) -> None:
    """w_pred_none, w_pred_badsrc"""
    words = (f"onnx={exported}", f"out={tmp_path}/out")
    refused("predict", words, r"Say what to predict on with source=", tmp_path, code=2)
    missing = r"There is no picture, folder or video /nope"
    refused("predict", (*words, "source=/nope"), missing, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_export_under_another_ending(checkpoint: Path, tmp_path: Path) -> None:
    """w_exp_out"""
    words = (f"checkpoint={checkpoint}", f"out={tmp_path}/a.txt")
    refused("export", words, r"a\.txt must end in \.onnx", tmp_path, code=2)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("check=0", r"check is 0; .* at least 1"),
        ("check=-1", r"check is -1; .* at least 1"),
        ("check=abc", r"check is abc; .* whole number"),
        ("batch=0", r"batch is 0; .* at least 1"),
        ("batch=-2", r"batch is -2; .* at least 1"),
        ("batch=abc", r"batch is abc; .* whole number"),
        ("tolerance=abc", r"tolerance is abc; .* above 0"),
        ("crops={here}", r"crops=.* holds no picture that can be read: .*1\.png"),
        ("web={here}", r"web=.* holds other files, as [12]\.png"),
        ("bundle={here}", r"bundle=.* holds other files, as [12]\.png"),
    ],
)
def test_values_of_an_export_are_judged_before_anything_is_loaded(
    word: str, sentence: str, tmp_path: Path
) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("no picture")
    # there is no such checkpoint, which is not looked for
    refused("export", ("checkpoint=/nope", word.format(here=tmp_path)), sentence, tmp_path)


@pytest.mark.parametrize(
    "word",
    [
        "half=true",
        "int8=true",
        "format=[onnx,openvino]",
        "flip=false",
        "openvino=true",
        "out=x.onnx",
        "batch=1",
    ],
)
def test_what_only_a_network_that_is_written_can_have(word: str, tmp_path: Path) -> None:
    says = r"= is for a network that is written: add checkpoint= or weights=, or leave it out"
    refused("export", (f"bundle={tmp_path / 'x.zip'}", word), says, tmp_path, code=2)
