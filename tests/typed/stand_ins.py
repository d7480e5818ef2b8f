"""The one table of what the documentation leaves open, and of what cannot be run whole here.

Everything that is not named here runs as it is written; trainings with `debug=tiny`, as the documentation offers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Words in capitals and folders outside the checkout. What stands in braces are the runs of checkout.py; files like
# picture.jpg or lapx.onnx lie in the checkout under the names that the documentation gives them (laid_out.py).
FILLED = {
    # one of a narrow network: an export of LAPX takes half a minute, and README's line has one
    r"(export(?:\.py)? .*\bcheckpoint=)(RUN_FOLDER|runs/train/RUN(?= ))": r"\1{small}",
    r"resume=(runs/train/(RUN|20\S+)|RUN_DIR)$": "resume={stopped}",
    r"\bruns/train/(RUN|\.\.\.)(?![\w])": "{run}",
    r"\bRUN OTHER\b": "{run} {other}",
    r"checkpoint=RUN data=coco\b": "checkpoint={coco} data=coco",
    r"\b(RUN_FOLDER|RUN)\b(?!=)": "{run}",
    r"\bruns/sweeps/(NAME|SWEEP)\b": "{sweep}",
    r"data\.root=/data/coco\b": "data.root=data/coco",
    r"data\.root=/data/mpii\b": "data.root=data/mpii",
    r"data\.root=MPII\b": "data.root=data/mpii",
    r"data\.root=DIR\b": "data.root=data/lspet",
    r"data\.root=FOLDER\b": "data.root=data/people17",
    r"\b(init|loss\.teacher)=FILE\b": r"\1=tinypose256.xml",
    r"weights=FILE\.pth": "weights=lapx_mpii.pth",
    r"data=NAME\b": "data=mine",
    r"zoo identify FILE\b": "zoo identify lapx_mpii.pth",
    r"\bPICTURE\.jpg": "picture.jpg",
    r" \[--sources lspet mpii \.\.\.\]": " --sources lspet mpii",
}

# What takes hours, a browser or the whole suite: its stand-in, of the same command at a smaller scale
SMALLER = {
    # .venv is this very environment, so make has nothing to install
    r"make install$": "make -o .venv/installed install",
    r"(OMP_NUM_THREADS=1 )?make train$": r"\1make -o .venv/installed train ARGS='experiment=first_look debug=tiny'",
    r"make docs$": "make -n -o .venv/installed docs",  # it fetches the generator; .ci/run builds the site
    r"make (test|test-fast)$": r"make -o .venv/installed \1 ARGS=tests/test_errors.py",
    r"make (try-torch .*)": r"make -n -o .venv/installed \1",  # it fetches gigabytes
    r"make (formats|test-formats)$": r"make -n -o .venv/installed \1",  # it fetches the converters
    r"(.*benchmark\.py latency)( rounds=.*)?$": (
        r"\1 networks=[lapx_fast] input_size=[64,64] rounds=1 repeats=1 memory=false"
    ),
    r"(.*benchmark\.py latency) 'networks.*": (
        r"\1 'networks=[lapx_fast]' memory=false input_size=[64,64] rounds=1 repeats=1"
    ),
    r"(.*benchmark\.py latency extra=mine\.onnx)": (
        r"\1 networks=[lapx_fast] input_size=[64,64] rounds=1 repeats=1 memory=false"
    ),
    # one run: an export takes half a minute
    r"(.*benchmark\.py runtimes)( extra=\S+)?( 'dataset.*')?( rounds=.*)?$": (
        r"\1\2\3 networks=[lapx_fast] input_size=[64,64] formats=[onnx] rounds=1 batches=[1] threads=[1] memory=false"
        r" check=2 calibrate=2"
    ),
    # PP-TinyPose's file is laid out as numbers alone, which no runtime opens
    r"(.*benchmark\.py runtimes 'networks=\[light\]' .*)extra=tinypose256\.xml(.*)": (
        r"\1extra=mine.onnx\2 formats=[onnx] rounds=1 memory=false check=2 calibrate=2"
    ),
    r"(.*benchmark\.py table) runs=\S+$": r"\1 runs={run} rounds=1 repeats=1 threads=[1] memory=false",
    r"(.*receptive-field) 'hourglass .*": r"\1 'lapx_fast data.input_size=[128,128]' --pictures 2",
    r"(.*benchmark\.py jitter)\b.*": r"\1 people=1 frames=4 decoders=[argmax] flips=[false]",
    r"(.*benchmark\.py data)$": r"\1 rounds=1 samples=16 workers=0",
    r"(.*benchmark\.py evaluation)( json=\S+)?$": r"\1 rounds=1 people=16 persons=50 detections=500\2",
    r"(.*benchmark\.py all)( only=evaluation out=mine)?$": (
        r"\1\2 parts.threads=null parts.training=null parts.latency=null parts.export=null parts.runtimes=null"
        r" parts.logging=null"
        r""" 'parts.evaluation=["rounds=1","people=16","persons=50","detections=500"]'"""
    ),
    r"(.*benchmark\.py export)( rounds=\d+)?$": (
        r"\1 network=simple_baseline_mobilenetv2 input_size=[64,64] rounds=1 warmup=1 threads=[1] openvino=false"
    ),
    r"(.*benchmark\.py threads)$": (
        r"\1 network=lapx_fast input_size=[64,64] batch_size=2 rounds=1 steps=1 ~settings.passive"
    ),
    r"(.*benchmark\.py logging)$": r"\1 rounds=2 steps=2 every=2 batch_size=2",
    r"(.*benchmark\.py training)( input_size=.*)?$": (
        r"\1 rounds=1 steps=4 networks=[lapx] input_size=[64,64] network_steps=1 network_rounds=1"
    ),
    r"(.*benchmark\.py gpu out=gpu\.json)": (  # it measures a CPU where there is no GPU
        r"\1 networks=[lapx_fast] batch=2 batches=[2] input_size=[64,64] steps_s=0.01 workers=0"
        r" compiled=[] seconds=20"
    ),
    # its teacher's numbers, in a file that OpenVINO does not run
    r"(python src/train\.py experiment=people17_cpu_.*)": r"\1 loss.runtime=torch debug=tiny",
    # one run under two names, whose network light is not; and light itself, of people17's joints
    r"(python scripts/mix_weights\.py mixed\.ckpt) .*": r"\1 {run}=0.5 {run}/checkpoints/best.ckpt=0.5",
    r"(python src/evaluate\.py) checkpoint=mixed\.ckpt (data=people17 .*)": r"\1 onnx=light \2",
    r"(bash scripts/reproduce_lspet\.sh (cpu|smoke) .*)": r"MODELS=lapx \1 debug=tiny",
    r'MODELS=(?:"[^"]*"|\w+) (bash scripts/reproduce_lspet\.sh cpu .*)': r"MODELS=lapx \1 debug=tiny trainer=cpu",
    r"(python src/train\.py (-m hydra/sweeper=search|sweep=lapx_budget) .*)": (  # of 30 trainings
        r"\1 debug=tiny hydra.sweeper.n_trials=2"
    ),
    r"(python src/train\.py .*debug=overfit)": (  # learned at the first look
        r"\1 data.input_size=[64,64] callbacks.overfit.share=0 callbacks.overfit.every=1"
    ),
    # a server that runs until it is stopped: the same folder, looked through once
    r"tensorboard --logdir (\S+)": (
        r"python src/train.py logger=tensorboard debug=tiny && tensorboard --inspect --logdir \1"
    ),
    # npm is the network: empty files in the place of the browser's runtime
    r"(python src/export\.py|featherpose export) (.*)\bweb=(\S+)(.*)": r"\1 \2web=\3\4 ort=ort",
    r"python -m http\.server .*": "python -m http.server --help",  # until it is stopped
    r"(python tests/metrics/test_average_precision\.py) 10000": r"\1 5",
    r"(python -m pytest tests/sweeps/test_search\.py) -m slow -s": r"\1 -k follow_each_other",  # a minute
    r"python -m pytest tests/export/test_web\.py": (
        "python -m pytest tests/export/test_web.py -m 'not slow'"
    ),
    # the wheel's index is the network; this folder has the same extras
    r"pip install \.": "pip install --no-deps --no-build-isolation --dry-run .",
    r"pip install '\.(\[\w+\])'": r"pip install --no-deps --no-build-isolation --dry-run '.\1'",
    # a server that runs until it is stopped: one notebook, run through
    r"pip install 'featherpose(\S+)' && jupyter lab notebooks( .*)?": (
        r"pip install --no-deps --no-build-isolation --dry-run '.\1' && "
        "jupyter execute notebooks/inspect_run.ipynb"
    ),
    r"pip install 'featherpose(\[\w+\])'": (
        r"pip install --no-deps --no-build-isolation --dry-run '.\1'"
    ),
}

# What needs a network, a GPU, a camera, a cluster or archives: it runs to the sentence with which it refuses
REFUSED = {
    r"python src/evaluate\.py$|featherpose evaluate$": "checkpoint=",
    r"featherpose predict$": "Say what to predict on",
    r"featherpose data import$": "required: SOURCE",
    r"python -m featherpose": "== Verbs",  # it asks for one
    r"python scripts/get_data\.py \w+|featherpose data get \w+": "can't be reached",
    r"python scripts/build_people17\.py(?! --help)( .*)?": "FOLDER|required",
    r"python scripts/train_finder\.py(?! --help)( .*)?": "FOLDER|required",
    r"python src/predict\.py .*source=0 .*": "There is no camera 0",
    r".*experiment=people17_gpu_.*": "GPU",
    r"bash scripts/reproduce_lspet\.sh gpu .*": "GPU",
    r"pip install hydra-ray-launcher .*": "No matching distribution|Could not find",
    r"(python src/export\.py|featherpose export) .*format=\S*(litert|ncnn).*": "needs (litert-torch|pnnx)",
    r"python src/benchmark\.py runtimes .*browser=true.*": "npm gave no onnxruntime-web|needs a browser on the PATH",
    r"wandb login|wandb sync .*": "No API key",
    r"wandb agent": "SWEEP_ID",
    r"wandb leet .*": "TTY",
    r"TRACKIO_DIR=\S+ trackio .*|mlflow ui .*": "not found",
}

# What has to be there before, as the documentation says it further up
SWEEP = "python src/train.py model=lapx data=mpii -m model.stages=2,3,4,5"
NEEDS = {
    r"compare=\[quarter\]": (
        "python src/evaluate.py onnx=light data=coco protocol.flip=false protocol.decoder=quarter out=quarter"
    ),
    r"data\.root=data/synthetic_coco": (
        "python scripts/make_synthetic.py --format coco --people 2000 --out data/synthetic_coco"
    ),
    r"checkpoint=mixed\.ckpt$": "python scripts/mix_weights.py mixed.ckpt runs/train/RUN=0.5 light=0.5",
    r"data=dance\b": "featherpose data import labels.zip --out data/dance",
    r"featherpose verify light\.zip": "python src/export.py bundle=light.zip",
    r"sigmas=data/dance": "featherpose data sigmas anna.json ben.json --out data/dance/sigmas.json",
    r"runs\.py (list|show last)|jupyter lab|^wandb ": "python src/train.py",
    r"runs\.py status|featherpose (sweep|runs status)": SWEEP,
    r"sweep\.resume=runs/sweeps/shared": (
        "python src/train.py -m hydra/sweeper=search 'model.stages=choice(2,3)'"
        " hydra.sweep.dir=runs/sweeps/shared"
    ),
}

COCO = "python src/train.py data=coco data.root=data/synthetic_coco"

# A process of its own, as at the prompt, imports and all
ALONE = (
    r"python src/train\.py$",
    r"python src/train\.py model=lapx data=mpii -m model\.stages=2,3,4,5$",
    r"python src/evaluate\.py checkpoint=runs/train/RUN$",
    r"python src/predict\.py source=picture\.jpg$",
    r"python src/export\.py checkpoint=runs/train/RUN$",
    r"python scripts/runs\.py list$",
    r"MODELS=lapx bash scripts/reproduce_lspet\.sh cpu .*",  # it finds its Python by itself
)
TRAINS = re.compile(r"(python src/train\.py|featherpose train)\b(?!.*--(help|cfg))")


@dataclass(frozen=True)
class Way:
    """How a documented line is run."""

    kind: str  # as written, smaller, refused
    line: str  # with words in braces for the runs that it needs
    says: str = ""  # of what is refused: what the sentence holds
    alone: bool = False


def way(written: str) -> Way:
    """The way in which the table has a line run."""
    filled = written
    for pattern, value in FILLED.items():
        filled = re.sub(pattern, value, filled)
    alone = any(re.fullmatch(pattern, written) for pattern in ALONE)
    for pattern, says in REFUSED.items():
        if re.fullmatch(pattern, written):
            return Way("refused", filled, says)
    for pattern, instead in SMALLER.items():
        if found := re.fullmatch(pattern, filled):
            return Way("smaller", found.expand(instead), alone=alone)
    if TRAINS.match(written):
        filled += " debug=tiny"
    return Way("as written", filled, alone=alone)
