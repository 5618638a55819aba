#!/usr/bin/env bash
# Makes one Python environment from its lock file, unless it is already made.
#
#   build.sh FOLDER LOCK [editable]
#
# PYTHON (default python3.11, else python3) names the interpreter. The locks pin torch's version but not
# its build. TORCH_INDEX_URL names the package index for it: the usual one would install a CUDA build of
# several gigabytes, also on a machine without a GPU.
set -euo pipefail
folder=$1 lock=$2 editable=${3:-}
cd "$(dirname "$0")/../.."

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "set-up: Python 3.11 is needed and '${python:-python3}' is not it; install it or set PYTHON=/path/to/python3.11" >&2
    exit 2
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "set-up: this Python has no venv module; on Debian: apt-get install python3.11-venv" >&2
    exit 2
fi

# An older environment of ours may be first on the path, and is about to be removed.
python=$("$python" -c 'import sys; print(sys._base_executable)')

stamp=$folder/.made-from
wanted=$(cat "$lock" pyproject.toml "$0" | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

# If this runs twice at once, for a demo and the tests, say, the runs take turns.
exec 9>"$folder.lock"
flock 9
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

echo "set-up: making $folder from $lock (downloads packages the first time)"
rm -rf "$folder"
"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check --no-input)

torch=$(grep -oE '^torch==[^ ]+' "$lock" || true)
if [ -n "$torch" ]; then
    from=(${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --no-deps "$torch")
    # Checked before the download: the difference is gigabytes.
    offered=$("${pip[@]}" install --dry-run --quiet --report - "${from[@]}" | "$folder/bin/python" -c '
import json, sys
metadata = json.load(sys.stdin)["install"][0]["metadata"]
cuda = any("nvidia" in need or "cuda" in need for need in metadata.get("requires_dist", []))
local = metadata["version"].partition("+")[2]
print(metadata["version"] + ":", "the CPU build" if local == "cpu" or not cuda else "a CUDA build")')
    echo "set-up: PyTorch $offered"
    case $offered in *CUDA*)
        echo "set-up: that is about 5 GB in this environment; without a GPU, stop here and set" \
            "TORCH_INDEX_URL to a package index with CPU builds" ;;
    esac
    "${pip[@]}" install --quiet "${from[@]}"
fi
"${pip[@]}" install --quiet --requirement "$lock"
[ "$editable" != editable ] || "${pip[@]}" install -qq --no-deps --no-build-isolation --editable .
echo "$wanted" >"$stamp"
