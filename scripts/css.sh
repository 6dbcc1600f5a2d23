#!/bin/sh
# Compile static/css/input.css to static/css/main.css. Arguments are passed on: `--watch`.
#
# Uses the standalone Tailwind CLI when one named `tailwindcss` is on PATH, else npm's; the
# compiled file is committed, so that nothing but a change of the pages needs either.
set -eu

VERSION=4.3.5

cd "$(dirname "$0")/.."
set -- --input static/css/input.css --output static/css/main.css --minify "$@"

if command -v tailwindcss >/dev/null; then
    exec tailwindcss "$@"
fi
command -v npx >/dev/null || {
    echo "Compiling the style sheet needs the Tailwind CSS $VERSION CLI (tailwindcss) or npm." >&2
    exit 1
}
# The style sheet imports "tailwindcss": NODE_PATH lets it be found where npx put it.
# shellcheck disable=SC2016
exec npx --yes --package "tailwindcss@$VERSION" --package "@tailwindcss/cli@$VERSION" -- sh -c '
    NODE_PATH=$(dirname "$(dirname "$(command -v tailwindcss)")")
    export NODE_PATH
    exec tailwindcss "$@"' tailwindcss "$@"
