#!/bin/sh
# Make .venv and install a lock file into it; quick when both are up to date.
# Usage: scripts/install.sh requirements.txt
set -eu

lock=$1
python=.venv/bin/python
stamp=.venv/.installed-$lock  # a copy of what was installed last

is_usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

# A pyenv shim can exist for a version that is not there, so each candidate is tried.
find_python() {
    pyenv_python=$(pyenv which python3 2>/dev/null || true)
    for candidate in "$pyenv_python" python3.12 python3.13 python3.14 python3; do
        if [ -n "$candidate" ] && is_usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

make_environment() {
    if command -v uv >/dev/null && uv venv --quiet --clear --seed .venv; then
        return
    fi
    if ! base=$(find_python); then
        echo "Error: Doorito needs Python 3.12 or newer with its venv module: install one, or uv (https://docs.astral.sh/uv/)." >&2
        exit 1
    fi
    "$base" -m venv --clear .venv
}

is_usable $python || make_environment
if ! cmp -s "$lock" "$stamp"; then
    echo "Installing $lock"
    if command -v uv >/dev/null; then
        uv pip install --quiet --python $python --require-hashes -r "$lock"
    else
        $python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    fi
    cp "$lock" "$stamp"
fi
