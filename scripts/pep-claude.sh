#!/bin/sh
# Hand a step of a proposal to Claude Code: fill in scripts/prompts/pep-COMMAND/VARIANT.md and start
# `claude` with it. Reads DESC (of draft), PEP (of all others) and PROMPT (the variant) from the
# environment, as make passes them.
# Usage: PEP=0020 scripts/pep-claude.sh plan
set -eu
. "$(dirname "$0")/peplib.sh"

command=${1-}
prompts=$(cd "$(dirname "$0")" && pwd)/prompts
[ -n "$command" ] && [ -d "$prompts/pep-$command" ] ||
    fail "say which step: $(ls "$prompts" | sed 's/^pep-//' | paste -sd' ' -)."

if [ "$command" = draft ]; then
    is_blank "${DESC-}" && fail "say what is wanted: make claude-pep-draft DESC=\"Resume uploads after a restart\"."
    export DESC
else
    FOLDER=$(folder_of "${PEP-}")
    FOLDER=PEPs/$(basename "$FOLDER")
    export PEP FOLDER
fi

variant=${PROMPT:-default}
case $variant in
*[!A-Za-z0-9_-]*) fail "PROMPT must be the name of a variant, not '$variant'." ;;
esac
file=$prompts/pep-$command/$variant.md
[ -f "$file" ] || fail "there is no prompt scripts/prompts/pep-$command/$variant.md; there are: $(
    ls "$prompts/pep-$command" | sed 's/\.md$//' | paste -sd' ' -
)."
command -v claude >/dev/null ||
    fail "the command \`claude\` is missing: install Claude Code, or follow $file by hand."

cd "$peps/.."
exec claude --permission-mode acceptEdits "$(fill "$file" PEP FOLDER DESC)"
