# What the scripts of proposals share; they source it. It is POSIX sh.
# shellcheck shell=sh

peps=$(cd "$(dirname "$0")/.." && pwd)/PEPs

fail() {
    printf 'Error: %s\n' "$1" >&2
    exit 1
}

# is_blank TEXT: whether there is nothing but white space.
is_blank() {
    case $1 in
    *[![:space:]]*) return 1 ;;
    esac
}

# folder_of NUMBER: the folder of a proposal that is under way.
folder_of() {
    is_blank "$1" && fail "say which proposal: PEP=NNNN, four digits such as 0020."
    case $1 in
    0000) fail "PEP 0000 is the template: say another number." ;;
    [0-9][0-9][0-9][0-9]) ;;
    *) fail "PEP must be four digits such as 0020, not '$1'." ;;
    esac
    for folder in "$peps/PEP_$1"_*/; do
        if [ -d "$folder" ]; then
            echo "${folder%/}"
            return
        fi
    done
    if grep -qs "^### PEP $1:" "$peps"/IMPLEMENTED/*.md; then
        fail "PEP $1 is implemented: see PEPs/IMPLEMENTED/."
    fi
    fail "there is no PEP $1 in PEPs/ (make pep-new TITLE=... begins one)."
}

# fill FILE NAME...: print the file with each {{NAME}} replaced by the environment variable of that
# name, taken literally. Text that people gave comes last: no mark in it is replaced.
fill() {
    file=$1
    shift
    awk -v names="$*" '
        function replaced(line, mark, text,    head, at) {
            head = ""
            while (at = index(line, mark)) {
                head = head substr(line, 1, at - 1) text
                line = substr(line, at + length(mark))
            }
            return head line
        }
        BEGIN { count = split(names, name, " ") }
        {
            for (i = 1; i <= count; i++) $0 = replaced($0, "{{" name[i] "}}", ENVIRON[name[i]])
            print
        }
    ' "$file"
}
