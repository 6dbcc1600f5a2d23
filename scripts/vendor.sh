#!/bin/sh
# Refresh the vendored JavaScript in static/vendor/ from its pinned npm releases.
#
# Needs npm (any registry it is configured for) and tar. Nothing at run time does: the files are
# committed. To move to a newer release change the version here, run this, run the browser tests.
set -eu

HTMX=2.0.11

target=$(cd "$(dirname "$0")/.." && pwd)/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack PACKAGE VERSION: leaves the release in $work/package.
unpack() {
    rm -rf "$work/package"
    (cd "$work" && tar -xzf "$(npm pack --silent "$1@$2")")
}

unpack htmx.org "$HTMX"
cp "$work/package/dist/htmx.min.js" "$target/htmx/htmx.min.js"
cp "$work/package/LICENSE" "$target/htmx/LICENSE"
echo "$HTMX" >"$target/htmx/VERSION"
