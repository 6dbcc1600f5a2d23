#!/bin/sh
# Keep the newest ten entries in PEPs/IMPLEMENTED/LATEST.md; older ones go to PAST_YYYYMMDD.md, named
# after today.
set -eu
. "$(dirname "$0")/peplib.sh"

KEPT=10
cd "$peps/IMPLEMENTED"
count=$(grep -c '^### ' LATEST.md || true)
if [ "$count" -le $KEPT ]; then
    echo "Nothing to archive: LATEST.md has $count of $KEPT entries."
    exit
fi

past=PAST_$(date -u +%Y%m%d).md
trap 'rm -f .older .latest .past' EXIT
awk -v kept=$KEPT '/^### / { n++ } n > kept' LATEST.md >.older
awk -v kept=$KEPT '/^### / { n++ } n <= kept' LATEST.md >.latest
{
    echo "# Implemented PEPs, archived on $(date -u +%Y-%m-%d)"
    echo
    cat .older
    # What was archived earlier today is older still.
    if [ -f "$past" ]; then
        echo
        awk '/^### / { begun = 1 } begun' "$past"
    fi
} >.past
# Written before it is taken away: a kill in between repeats entries and loses none.
mv .past "$past"
mv .latest LATEST.md
echo "Archived $((count - KEPT)) entries in PEPs/IMPLEMENTED/$past."
