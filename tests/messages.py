#!/usr/bin/env python3
"""Every message for the operator is asserted as a whole line by some test.

    messages.py [-v]      -v: print each message and the line that asserts it

A message is the text given to one of the diag_ functions in src/, or to a helper that fills
in the text of such a call. It is asserted if a test expects a line of that form:

    ..._expect_line(..., "%s: the log was removed while it was served; stopping", ...)
    {.line = "..."}       in a table whose lines are expected so
    struct event events[] = {{"...", ...}, ...}      likewise, the first text of each row

where a conversion may stand as it is or be filled in, and the text of errno follows
behind what diag_warn and diag_error tell.
"""
import glob
import os
import re
import sys

# Functions that make a message of their text: what stands around it, errno included.
CALLS = {
    "diag_info": "TEXT",
    "diag_warn": "TEXT: %s",
    "diag_warnx": "TEXT",
    "diag_error": "TEXT: %s",
    "diag_errorx": "TEXT",
    "place_tell": "%s%s: TEXT: %s",
    "logset_refuse": "%s%s: TEXT; nothing was changed",
    "disbelieve": "%s.index: TEXT; reading the whole log",
    "leave_out": "the key %.*s: TEXT; left out: see --dump=resp",
}
# Functions whose every text is one.
BODIES = {"find_fault": "%s%s: TEXT; it is not used"}
# The calls that those helpers make: their own text is none.
WRAPPERS = {form.replace(": %s", "").replace("TEXT", "%s")
            for form in [*CALLS.values(), *BODIES.values()]}

WORDS = {"FILES_LOCK": ".lock", "FILES_NEW": ".new", "FILES_OLD": ".old",
         "FILES_INDEX": ".index", "PRIu64": "u", "PRIx64": "u"}
TOKEN = re.compile(r'/\*.*?\*/|^#[^\n]*|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[A-Za-z_]\w*|\S',
                   re.S | re.M)
CONVERSION = re.compile(r"%[-.*0-9]*(?:ll|l|z)?[a-z]")


class Source:
    """The tokens of a file, comments and lines of the preprocessor left out."""

    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8") as file:
            self.code = file.read()
        self.tokens = [match for match in TOKEN.finditer(self.code)
                       if match[0][:2] != "/*" and match[0][0] != "#"]
        self.words = [match[0] for match in self.tokens]

    def place(self, i):
        return f"{self.path}:{self.code.count(chr(10), 0, self.tokens[i].start()) + 1}"

    def is_at_margin(self, i):
        """Whether its line begins at the margin, as definitions do."""
        line = self.code.rfind("\n", 0, self.tokens[i].start()) + 1
        return not self.code[line].isspace()

    def end_of_call(self, i):
        depth = 0
        for at in range(i, len(self.words)):
            depth += (self.words[at] == "(") - (self.words[at] == ")")
            if depth == 0:
                return at
        return len(self.words)

    def end_of_body(self, i):
        return next(at for at in range(i, len(self.words))
                    if self.words[at] == "}" and self.is_at_margin(at))

    def end_of_field(self, i):
        return next((at for at in range(i, len(self.words)) if self.words[at] in (",", "}")),
                    len(self.words))

    def texts(self, begin, end, is_table=False):
        """What adjacent literals make together, with the names of side files put in; of a
        table the first of each row."""
        text, is_first = None, True
        for word in self.words[begin:end] + [";"]:
            piece = word[1:-1] if word[0] == '"' else WORDS.get(word)
            if piece is not None:
                text = (text or "") + piece
            elif text is not None:
                if is_first or not is_table:
                    yield text
                text, is_first = None, False
            is_first = is_first or word == "{"


def messages(source):
    """(place, form of the whole line), or (place, None, text) of one that is filled in."""
    i = 0
    while i + 1 < len(source.words):
        name, begin = source.words[i], i
        i += 1
        if source.words[i] != "(":
            continue
        if name in CALLS:
            i, form = source.end_of_call(i), CALLS[name]
        elif name in BODIES and source.is_at_margin(begin):
            i, form = source.end_of_body(i), BODIES[name]
        else:
            continue
        is_first = True
        for text in source.texts(begin, i):
            if text in WRAPPERS or not re.search("[a-z]", text) or re.fullmatch(r"\.[a-z]+", text):
                continue
            is_whole = is_first or name in BODIES
            yield source.place(begin), is_whole, form.replace("TEXT", text) if is_whole else text
            is_first = False


def lines(source):
    """(place, text) of each line that a test expects."""
    i = 0
    while i + 1 < len(source.words):
        begin = i
        name, mark = source.words[i:i + 2]
        i += 1
        if mark == "(" and name.endswith("_expect_line"):
            i = source.end_of_call(i)
        elif mark == "[" and source.words[begin - 1:i] == ["event", "events"]:
            i = source.end_of_body(i)
        elif mark == "=" and name == "line":
            i = source.end_of_field(i)
        else:
            continue
        for text in source.texts(begin, i, mark == "["):
            yield source.place(begin), text


def expression(form):
    """Fixed text as it is, anything for a conversion."""
    return re.compile(".*".join(re.escape(part) for part in CONVERSION.split(form)), re.S)


def main():
    os.chdir(os.path.join(os.path.dirname(__file__), ".."))
    sources = sorted({*glob.glob("src/*.c"), *glob.glob("src/*/*.c")} - {"src/base/diag.c"})
    told = [message for path in sources for message in messages(Source(path))]
    tests = [*sorted(glob.glob("tests/unit/*.c")), *sorted(glob.glob("tests/server/*.c"))]
    expected = [line for path in tests for line in lines(Source(path))]
    problems = []
    for place, is_whole, text in told:
        wanted = expression(text)
        found = [where for where, line in expected
                 if (wanted.fullmatch(line) if is_whole else text in line)]
        if not found:
            problems.append(f"{place}: no test expects the line: {text}")
        elif sys.argv[1:] == ["-v"]:
            print(f"{place}: {text}\n    {found[0]}")
        if is_whole and not re.search("[a-z]{4}", CONVERSION.sub("", text)):
            problems.append(f"{place}: says too little: {text}")
    for problem in problems:
        print(f"messages: {problem}")
    line = (f"messages: {len(told)} texts, {len(expected)} expected lines, "
            f"{len(problems)} problems")
    print(line)
    with open(os.environ.get("KV_RAN", os.devnull), "a", encoding="utf-8") as ran:
        print(line, file=ran)
    sys.exit(1 if problems or not told else 0)


main()
