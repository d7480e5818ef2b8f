#!/usr/bin/env bash
# The four networks on Leeds Sports Pose Extended under one budget, then table, figures and files to ship.
#
#   bash scripts/reproduce_lspet.sh cpu     16 epochs at 128x128; some hours on two cores
#   bash scripts/reproduce_lspet.sh gpu     120 epochs at 256x256 on one GPU, then stages and gamma of LAPX
#   bash scripts/reproduce_lspet.sh smoke   minutes, to see every step run
#
# Interrupted, it goes on where it was: finished networks are kept, the one that was running resumes.
# Further words are overrides, e.g. data.root=/data/lspet schedule.epochs=5; MODELS="lapx lap" chooses networks.
set -euo pipefail
budget=${1:-cpu}
shift || true
case $budget in
  cpu | gpu | smoke) ;;
  *) echo "usage: bash scripts/reproduce_lspet.sh cpu|gpu|smoke [overrides]" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[ -x "$python" ] || python=python3
out=${OUT:-$here/runs/lspet_$budget}
mkdir -p "$out"

train() { # train NAME overrides…: once; resumes what was interrupted
  local folder="$out/$1"
  shift
  if grep -qs '"state": "finished"' "$folder/run.json"; then
    echo "== $(basename "$folder"): finished before"
    return
  fi
  echo "== $(basename "$folder")"
  if [ -f "$folder/checkpoints/last.ckpt" ]; then
    "$python" "$here/src/train.py" "resume=$folder"
  else
    "$python" "$here/src/train.py" "experiment=lspet_$budget" "hydra.run.dir=$folder" "$@"
  fi
}

about_data=()
for word in "$@"; do case $word in data.root=* | data.read*) about_data+=("$word") ;; esac; done
"$python" "$here/scripts/check_data.py" data=lspet "${about_data[@]}" --quick --out "$out/check"
for model in ${MODELS:-lapx lap le_hrnet repose}; do
  train "$model" "model=$model" "name=$model-lspet-$budget" "$@"
done
if [ "$budget" = gpu ]; then
  for stages in 2 4 5; do
    train "lapx-s$stages" model=lapx "model.stages=$stages" "name=lapx-s$stages-lspet" "$@"
  done
  train lapx-gamma0 model=lapx schedule.gamma.target=0 "name=lapx-gamma0-lspet" "$@"
fi

for model in ${MODELS:-lapx lap le_hrnet repose}; do
  [ -f "$out/$model/$model-lspet.onnx" ] ||
    "$python" "$here/src/export.py" "checkpoint=$out/$model/checkpoints/best.ckpt" "out=$out/$model/$model-lspet.onnx"
  "$python" "$here/scripts/ship.py" "$out/$model"
done
"$python" "$here/scripts/runs.py" table "$out" --out "$out/table.md"
"$python" "$here/scripts/runs.py" report "$out" --out "$out/report.html"
"$python" "$here/scripts/runs.py" curves "$out" --out "$out/curves.png"
for model in ${MODELS:-lapx lap le_hrnet repose}; do
  [ "$budget" = smoke ] || "$python" "$here/scripts/runs.py" samples "$out/$model" --out "$out/$model/pictures/samples.png"
done
first=$(set -- ${MODELS:-lapx}; echo "$1")
echo "table   $out/table.md"
echo "report  $out/report.html"
echo "curves  $out/curves.png"
echo "try     python src/predict.py onnx=$out/$first/$first-lspet.onnx source=PICTURE.jpg"
