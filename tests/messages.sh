#!/usr/bin/env bash
# Every message for the operator is asserted as a whole line by some test.
#   messages.sh [-v]      -v: print each message and the line that asserts it
#
# A message is the text given to one of the diag_ functions in src/, or to a helper that fills
# in the text of such a call. It is asserted if a test expects a line of that form:
#     ..._expect_line(..., "%s: the log was removed while it was served; stopping", ...)
#     {.line = "..."}       in a table whose lines are expected so
#     struct event events[] = {{"...", ...}, ...}      likewise, the first text of each row
# where a conversion may stand as it is or be filled in, and the text of errno follows
# behind what diag_warn and diag_error tell.
set -u
cd "$(dirname "$0")/.." || exit 1

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# Functions that take a text and make a message of it: what stands before and behind it.
# The last field says whether errno follows. `returns` is a function whose every text is one.
helpers='
diag_info     call     TEXT                                info
diag_warn     call     TEXT                                warn
diag_warnx    call     TEXT                                info
diag_error    call     TEXT                                warn
diag_errorx   call     TEXT                                info
place_tell    call     %s%s:_TEXT                          warn
logset_refuse call     %s%s:_TEXT;_nothing_was_changed     info
disbelieve    call     %s.index:_TEXT;_reading_the_whole_log info
find_fault    returns  %s%s:_TEXT;_it_is_not_used          info
'
# The calls that those helpers make: their own text is none.
wrappers='^(%s|%s%s: %s|%s%s: %s; nothing was changed|%s.index: %s; reading the whole log|%s%s: %s; it is not used)$'

# Print "file:line TAB function TAB texts..." for each call of a function that is named in
# `calls`, for each body of one in `bodies`, for a table of events, and for `.line =`. A text
# is what its
# adjacent literals make together, with the names of side files put in.
list_texts() { # list_texts CALLS BODIES FILE...
    awk -v calls=" $1 " -v bodies=" $2 " '
        function flush_text() {
            if (has_text && !(is_event && is_story)) row = row "\t" text
            is_story = is_story || has_text
            has_text = 0
            text = ""
        }
        function begin(kind, name) {
            mode = kind
            is_event = name == "line" && kind == "body"
            depth = 0
            row = file ":" FNR "\t" name
            has_text = 0
            is_story = 0
            text = ""
        }
        function finish() {
            flush_text()
            if (row ~ /\t.*\t/) print row
            mode = ""
        }
        function add(piece) {
            text = text piece
            has_text = 1
        }
        function word(name) {
            if (name ~ /^PRI[ux]64$/) add("u")
            else if (name in macro) add(macro[name])
            else {
                flush_text()
                if (mode == "") {
                    before_it = before
                    before = name
                }
            }
        }
        function mark(c) {
            if (mode == "") {
                if (c == "(" && before != "" && index(calls, " " before " ") > 0) begin("call", before)
                else if (c == "(" && before != "" && $0 ~ /^[a-z]/ && index(bodies, " " before " ") > 0) begin("body", before)
                else if (c == "[" && before_it " " before == "event events") begin("body", "line")
                else if (c == "=" && before == "line") begin("field", before)
                else if (c == "(" && before ~ /_expect_line$/) begin("call", "line")
                else if (c ~ /[^ \t(]/) before = ""
                if (mode == "call") depth = 1
                return
            }
            if (c ~ /[ \t\n]/) return
            flush_text()
            if (c == "{") is_story = 0
            if (mode == "call") {
                depth += (c == "(") - (c == ")")
                if (depth == 0) finish()
            } else if (mode == "field" && (c == "," || c == "}")) finish()
        }
        BEGIN {
            macro["FILES_LOCK"] = ".lock"
            macro["FILES_NEW"] = ".new"
            macro["FILES_OLD"] = ".old"
            macro["FILES_INDEX"] = ".index"
        }
        FNR == 1 { file = FILENAME; mode = ""; in_comment = 0; before = "" }
        /^#/ { next }
        {
            if (mode == "body" && $0 ~ /^}/) finish()
            line = $0 "\n"
            while (line != "") {
                if (in_comment) {
                    at = index(line, "*/")
                    line = at == 0 ? "" : substr(line, at + 2)
                    in_comment = at == 0
                } else if (substr(line, 1, 2) == "/*") {
                    in_comment = 1
                    line = substr(line, 3)
                } else if (match(line, /^"([^"\\]|\\.)*"/)) {
                    if (mode != "") add(substr(line, 2, RLENGTH - 2))
                    line = substr(line, RLENGTH + 1)
                } else if (match(line, /^\047([^\047\\]|\\.)*\047/)) {
                    line = substr(line, RLENGTH + 1)
                } else if (match(line, /^[A-Za-z_][A-Za-z_0-9]*/)) {
                    name = substr(line, 1, RLENGTH)
                    line = substr(line, RLENGTH + 1)
                    word(name)
                } else {
                    c = substr(line, 1, 1)
                    line = substr(line, 2)
                    mark(c)
                }
            }
        }
    ' "${@:3}"
}

names() { # names KIND: the helpers of that kind
    awk -v kind="$1" '$2 == kind { printf "%s ", $1 }' <<<"$helpers"
}

# "file:line TAB whole TAB form" for each message; "part" for a text that is filled in.
sources=()
for source in src/*.c src/*/*.c; do
    [ "$source" = src/base/diag.c ] || sources+=("$source")
done
list_texts "$(names call)" "$(names returns)" "${sources[@]}" |
    awk -F '\t' -v helpers="$helpers" -v wrappers="$wrappers" '
        BEGIN {
            count = split(helpers, rows, "\n")
            for (i = 1; i <= count; i++) {
                if (split(rows[i], field, " +") < 4) continue
                gsub("_", " ", field[3])
                form[field[1]] = field[3]
                kind[field[1]] = field[2]
                behind[field[1]] = field[4] == "warn" ? ": %s" : ""
            }
        }
        function put(which, name, text,    whole) {
            whole = form[name]
            at = index(whole, "TEXT")
            whole = substr(whole, 1, at - 1) text substr(whole, at + 4) behind[name]
            printf "%s\t%s\t%s\n", $1, which, which == "part" ? text : whole
        }
        {
            is_first = 1
            for (i = 3; i <= NF; i++) {
                if ($i ~ wrappers || $i !~ /[a-z]/ || $i ~ /^\.[a-z]+$/) continue
                put(is_first || kind[$2] != "call" ? "whole" : "part", $2, $i)
                is_first = 0
            }
        }
    ' >"$work/messages"

list_texts "" "" tests/unit/*.c tests/server/*.c | awk -F '\t' '{ for (i = 3; i <= NF; i++) print $1 "\t" $i }' \
    >"$work/lines"

# Each form becomes an expression: fixed text as it is, anything for a conversion.
awk -F '\t' -v ran="${KV_RAN:-/dev/null}" -v verbose="${1:-}" '
    function to_expression(form,    out, piece) {
        out = "^"
        while (match(form, /%[-.*0-9]*(l|ll|z)?[a-z]/)) {
            piece = substr(form, 1, RSTART - 1)
            gsub(/[][\\.^$*+?(){}|]/, "\\\\&", piece)
            out = out piece ".*"
            form = substr(form, RSTART + RLENGTH)
        }
        gsub(/[][\\.^$*+?(){}|]/, "\\\\&", form)
        return out form "$"
    }
    NR == FNR { place[++count] = $1; line[count] = $2; next }
    {
        messages++
        found = 0
        expression = $2 == "whole" ? to_expression($3) : ""
        for (i = 1; i <= count && !found; i++) {
            found = $2 == "part" ? index(line[i], $3) > 0 : line[i] ~ expression
            if (found && verbose == "-v") printf "%s: %s\n    %s\n", $1, $3, place[i]
        }
        if (!found) {
            printf "messages: %s: no test expects the line: %s\n", $1, $3
            missing++
        }
        gsub(/%[-.*0-9]*(l|ll|z)?[a-z]/, "", $3)
        if ($2 == "whole" && $3 !~ /[a-z][a-z][a-z][a-z]/) {
            printf "messages: %s: says too little: %s\n", $1, $3
            missing++
        }
    }
    END {
        printf "messages: %d texts, %d expected lines, %d problems\n", messages, count, missing \
            | ("tee -a " ran)
        exit messages == 0 || missing > 0
    }
' "$work/lines" "$work/messages"
