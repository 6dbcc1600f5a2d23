#!/bin/sh
# Whether a proposal is complete: every box of its plan, and of its criteria, is checked. Changes
# nothing; prints what is open, or the entry for the record and what is left to close it with.
# Usage: scripts/pep-complete.sh 0020
set -eu
. "$(dirname "$0")/peplib.sh"

folder=$(folder_of "${1-}")
name=$(basename "$folder")
[ -f "$folder/plan.md" ] || fail "PEPs/$name has no plan.md."
[ -f "$folder/summary.md" ] || fail "PEPs/$name has no summary.md."

cd "$folder"
open=$(grep -nE '^[[:space:]]*[-*+] \[ *\]' plan.md summary.md || true)
if [ -n "$open" ]; then
    echo "PEP $1 is not complete. Open:" >&2
    printf '%s\n' "$open" | sed "s|^|  PEPs/$name/|" >&2
    exit 1
fi
grep -qE '^[[:space:]]*[-*+] \[[xX]\]' plan.md || fail "the plan of PEP $1 has no step: PEPs/$name/plan.md."

title=$(sed -n "s/^# PEP $1: //p" summary.md)
cat <<END
PEP $1 is complete. To close it:
1. Put this above the other entries of PEPs/IMPLEMENTED/LATEST.md, with its commits (git log --oneline)
   and what was built, where, and why so:

### PEP $1: $title
- **Implemented**: $(date -u +%Y-%m-%d)
- **Commit(s)**:
- **Summary**:

2. In PEPs/INDEX.md move its row to the table of implemented proposals, and call its node in the graph
   :::implemented.
3. Remove PEPs/$name, and run: make pep-archive
END
