#!/usr/bin/env bash
# Installs this bundle. Needs Python 3.11 with venv, and no network.
#
#   install.sh [--prefix /opt/slidekin] [--parts service,triton] [--systemd]
#
# Every file is first checked against SHA256SUMS. Everything is installed in PREFIX/VERSION, and the
# link PREFIX/current points there. Earlier versions stay: to roll back, point the link back. --systemd
# also writes units and users, and the configuration if there is none yet; it starts nothing.
# PYTHON (default python3.11, else python3) names the interpreter.
set -euo pipefail
# Other users than the one who installs run it.
umask 022
here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/slidekin parts="" systemd=""

fail() {
    echo "install: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --prefix=*) prefix=${1#*=} ;;
    --parts=*) parts=${1#*=} ;;
    --systemd) systemd=yes ;;
    --prefix | --parts)
        [ $# -ge 2 ] || fail "$1 needs a value"
        declare "${1#--}=$2"
        shift
        ;;
    *) fail "unknown option $1: --prefix DIR, --parts service,triton, --systemd" ;;
    esac
    shift
done
[ -n "$parts" ] || parts=$(cd "$here" && for part in service triton; do [ ! -f $part.txt ] || echo $part; done | paste -sd,)

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
"${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    fail "Python 3.11 is needed and '${python:-python3}' is not it: install it or set PYTHON=/path/to/python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "this Python has no venv module; on Debian: apt-get install python3.11-venv"
python=$("$python" -c 'import sys; print(sys._base_executable)')

cd "$here"
sha256sum --check --quiet --strict SHA256SUMS || fail "the bundle is damaged or incomplete: bring it here again"
# A file without a checksum is not part of the bundle.
unsummed=$(find . -type f ! -name SHA256SUMS -printf '%P\n' | sort |
    comm -23 - <(cut -c67- SHA256SUMS | sort) | head -1)
[ -z "$unsummed" ] || fail "$unsummed is not in SHA256SUMS: it does not belong to the bundle"

version=$(cat VERSION)
target=$prefix/$version
for part in ${parts//,/ }; do
    [ -f "$part.txt" ] || fail "this bundle has no part '$part'"
done
mkdir -p "$target"
for part in ${parts//,/ }; do
    echo "install: $part"
    rm -rf "${target:?}/$part"
    "$python" -m venv "$target/$part"
    # --isolated: ignores the installing user's package index, cache and options.
    "$target/$part/bin/python" -m pip --isolated --disable-pip-version-check --quiet install \
        --no-index --no-deps --require-hashes --no-cache-dir \
        --find-links wheels --requirement "$part.txt"
done
for folder in models deploy docs server; do
    rm -rf "${target:?}/$folder"
    cp -R "$folder" "$target/$folder"
done
ln -sfn "$version" "$prefix/.current.new"
mv -T "$prefix/.current.new" "$prefix/current"
echo "install: slidekin $version in $target; $prefix/current points there"

[ -n "$systemd" ] || exit 0
[ "$prefix" = /opt/slidekin ] || fail "the units expect /opt/slidekin: leave --prefix as it is, or copy and change them"
units=$target/deploy/systemd
install -D --mode 0644 "$units/slidekin.sysusers" /usr/lib/sysusers.d/slidekin.conf
install -D --mode 0644 "$units/slidekin.tmpfiles" /usr/lib/tmpfiles.d/slidekin.conf
for unit in "$units"/*.service "$units"/*.timer; do
    install -D --mode 0644 "$unit" "/etc/systemd/system/${unit##*/}"
done
systemd-sysusers slidekin.conf
systemd-tmpfiles --create slidekin.conf
for part in ${parts//,/ }; do
    runuser --user slidekin -- "$target/$part/bin/python" -c '' ||
        fail "user slidekin cannot run $target/$part/bin/python, whose interpreter is $python: install with one that all may run (PYTHON=/usr/bin/python3.11)"
done
for file in service.yaml triton.env; do
    [ -e "/etc/slidekin/$file" ] || install --mode 0640 --group slidekin "$units/$file" "/etc/slidekin/$file"
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "install: units are in place; see docs/deployment.md for certificates and the first start"
