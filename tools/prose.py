"""Check the prose of the repository against the style guide in CONTRIBUTING.md.

``python -m tools.prose [FILE …]`` prints one line for each finding and exits 1 if there is one. It
reads Markdown pages, and the docstrings, comments and messages of Python, SQL and HTML files.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tools.docs.site import pages

ROOT = Path(__file__).parents[1]
CODE = ("dolt_watch", "migrations", "tools", "bench", "tests")
EXEMPT = ("tests/docs/test_prose.py",)
"""Files with faults on purpose."""
QUOTED = "# quoted"
"""End of a line whose text is a quotation, for example of an old ledger entry."""

RULES: dict[str, str] = {
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\bst(ands|ood)\b|\bstand\b(?![-\s](ins?|by)\b)": "exist, be active, be in",
    r"\btold\b|\btells? (of|nothing)\b": "report, tell whom what",
    r"\b(ours|theirs)\b": "name the owner",
    r"\b(we|us|our)\b": "dolt_watch, or 'you' for the reader",
    r"\banew\b": "again",
    r"\bwhoever\b": "name the person",
    r"\b(no|some)body\b(?!['’])|\bsomebody's\b": "no user, another process",
    r"\b(let|lets|left) be\b": "keep, ignore",
    r"\b(goes|go|went|going) on\b": "continue",
    r"\bso (?!far\b|long\b|soon\b|well\b|that\b|much\b)\w+ as\b": "as … as",
    r"[«»]": "quotation marks",
    r"\bis (?-i:none)\b": "isn't one, there isn't one",
    r"(?<=[a-z]) (of|by|to|than|from|but|and|or|with) (who|what) "
    r"(?=[a-z])(?!if\b|happens\b|kind\b|extent\b|to\b)": "name it: the rows that …",
    r"(?:(?<=^)|(?<=\. ))(What|Who) (?=[a-z][^?.]*\.)(?!if\b)": "start with a noun or a verb",
}
"""Pattern → recommended words. Only the last two patterns are case-sensitive."""
EXACT = tuple(RULES)[-2:]
PATTERNS = [
    (re.compile(rule, re.MULTILINE | (0 if rule in EXACT else re.IGNORECASE)), advice)
    for rule, advice in RULES.items()
]

INLINE = re.compile(
    r"``[^`]*``|`[^`\n]*`|\]\([^)]*\)|https?://\S+|--(ours|theirs)\b|\Aa\snote\sof\sours\Z"
)
"""Code, links and options. The last alternative is a text in old ledger entries, kept verbatim."""
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
MARKUP = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1>|<[^>]*>|\{[{%#].*?[}%#]\}", re.DOTALL)
QUERY = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|CALL|ALTER|DROP|AND|FROM)\b")


class Finding(NamedTuple):
    path: str
    line: int
    words: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.words}': {self.advice}"


def findings(path: Path) -> Iterator[Finding]:
    """Yield the findings of one file, in order."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    quoted = {n for n, one in enumerate(text.splitlines(), 1) if one.endswith(QUOTED)}
    for line, prose in sorted(passages(text, path.suffix)):
        if line in quoted:
            continue
        for pattern, advice in PATTERNS:
            for found in pattern.finditer(prose):
                at = line + prose.count("\n", 0, found.start())
                yield Finding(name, at, " ".join(found[0].split()), advice)


def passages(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file: (first line, text without code)."""
    if suffix == ".py":
        for line, passage in _python(text):
            yield line, _blank(INLINE, passage)
    elif suffix == ".sql":
        for number, line in enumerate(text.splitlines(), 1):
            if "--" in line:
                yield number, _blank(INLINE, line.partition("--")[2])
    elif suffix == ".md":
        yield 1, _blank(INLINE, _blank(MARKUP, _blank(FENCED, text)))
    else:
        yield 1, _blank(INLINE, _blank(MARKUP, text))


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Replace each match by a mark with the same number of line breaks."""
    return pattern.sub(lambda found: "\ufffc" + "\n" * found[0].count("\n"), text)


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings, comments, and string literals that contain a space."""
    comment: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comment and token.start[0] != comment[-1][0] + 1:
                yield comment[0][0], "\n".join(part for _, part in comment)
                comment = []
            comment.append((token.start[0], token.string.lstrip("#! ")))
    if comment:
        yield comment[0][0], "\n".join(part for _, part in comment)
    inner: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts = [each for each in ast.walk(node) if isinstance(each, ast.Constant)]
            inner |= {id(each) for each in parts}
            literal = "{}".join(str(each.value) for each in parts if isinstance(each.value, str))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in inner:
                continue
            literal = node.value
        else:
            continue
        if " " in literal.strip() and not QUERY.match(literal):
            yield node.lineno, literal


def files() -> list[Path]:
    """Return every file that the style guide covers."""
    code = [
        path
        for folder in CODE
        for suffix in ("py", "sql", "html", "j2", "md.j2")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    exempt = {ROOT / name for name in EXEMPT}
    return sorted({*pages(), *code} - exempt)


def main(names: Iterable[str]) -> int:
    chosen = [Path(name).resolve() for name in names] or files()
    found = [finding for path in chosen for finding in findings(path)]
    sys.stdout.write("".join(f"{each}\n" for each in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
