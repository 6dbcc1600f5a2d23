#!/bin/sh
# Begin a proposal: the next free number, a folder made of PEPs/PEP_0000_template, and its place in
# the table and the graph of PEPs/INDEX.md. Prints the folder.
# Usage: scripts/pep-new.sh "A title"
set -eu
export LC_ALL=C
. "$(dirname "$0")/peplib.sh"

title=${1-}
is_blank "$title" && fail "say what it is about: make pep-new TITLE=\"Resume uploads after a restart\"."
printf '%s' "$title" | grep -q '[[:cntrl:]]' && fail "a title is one line, without control characters."
[ "$(printf '%s' "$title" | wc -l)" -eq 0 ] || fail "a title is one line, without control characters."
title=$(printf '%s' "$title" | sed 's/^ *//; s/ *$//')
[ "${#title}" -le 100 ] || fail "a title has 100 bytes at most; the rest belongs in summary.md."

slug=$(printf '%s' "$title" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '_' | cut -c 1-48)
slug=${slug#_}
slug=${slug%_}
[ -n "$slug" ] || fail "a title needs an ASCII letter or digit: the folder is named after it."

# The numbers of all proposals: those under way, those on record.
numbers() {
    ls "$peps" | sed -n 's/^PEP_\([0-9]\{4\}\)_.*/\1/p'
    cat "$peps"/IMPLEMENTED/*.md | sed -n 's/^### PEP \([0-9]\{4\}\):.*/\1/p'
}

NUMBER=$(numbers | sort | awk 'END { printf "%04d", $1 + 1 }')
FOLDER=PEP_${NUMBER}_$slug
TODAY=$(date -u +%Y-%m-%d)
# As Markdown shows it unchanged, in a table too; and as a label in the graph.
TITLE=$(printf '%s' "$title" | sed 's/\\/\\\\/g; s/|/\\|/g; s/</\&lt;/g')
LABEL=$(printf '%s' "$title" | sed 's/#/#35;/g; s/"/#quot;/g; s/</#lt;/g; s/>/#gt;/g; s/`/#96;/g')
export NUMBER FOLDER TODAY TITLE LABEL

mkdir "$peps/$FOLDER"
for name in summary.md plan.md; do
    fill "$peps/PEP_0000_template/$name" NUMBER TODAY TITLE >"$peps/$FOLDER/$name"
done

awk '
    /^<!-- new proposals above -->$/ {
        print "| [" ENVIRON["NUMBER"] "](" ENVIRON["FOLDER"] "/summary.md) | " ENVIRON["TITLE"] \
            " | Proposed | |"
    }
    /^ *%% new proposals above$/ {
        print "    P" ENVIRON["NUMBER"] "[\"" ENVIRON["NUMBER"] " " ENVIRON["LABEL"] "\"]:::proposed"
    }
    { print }
' "$peps/INDEX.md" >"$peps/.INDEX.md.new"
mv "$peps/.INDEX.md.new" "$peps/INDEX.md"

echo "PEPs/$FOLDER"
