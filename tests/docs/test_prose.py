"""The texts of the repository follow the style guide, where a program can check it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.conftest import ROOT
from tools import prose


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_the_guide_covers_pages_code_and_schema() -> None:
    covered = set(names(prose.files()))
    assert {"README.md", "docs/concepts.md", "dolt_watch/errors.py", "bench/lines.py"} <= covered
    assert {"migrations/0001_ledger.sql", "dolt_watch/targets/prompt.j2"} <= covered
    assert "tests/docs/test_site.py" in covered


def test_a_quotation_is_not_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text('OLD = "nobody said so"  # quoted\nNEW = "nobody said so"\n', "utf-8")
    assert [each.line for each in prose.findings(file)] == [2]


@pytest.mark.parametrize(
    "sentence",
    [
        "It mends the table.",
        "What stands there is read.",
        "The user is told.",
        "It tells of a bead.",
        "The row is ours.",
        "We retry.",
        "The state is made anew.",
        "Whoever wrote it waits.",
        "Nobody reads it.",
        "Somebody changed it.",
        "Such rows are let be.",
        "The run goes on.",
        "It waits so often as it must.",
        "It prints «text».",
        "Beads of what was claimed wait.",
        "What it wrote is kept.",
        "It is none of these.",
    ],
)
def test_a_banned_pattern_is_found(sentence: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\nA first line.\n{sentence}\n", "utf-8")
    found = list(prose.findings(page))
    assert found
    assert {each.line for each in found} == {4}


@pytest.mark.parametrize(
    "sentence",
    [
        "The stand-in writes rows.",
        "The rows that it wrote are kept.",
        "It reads as far as the commit.",
        "What if another rule applied?",
        "`mends` and [a page](anew.md) are code.",
        "Use `--theirs` or --ours.",
        "```\nwe mend it anew\n```",
    ],
)
def test_plain_english_and_code_pass(sentence: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{sentence}\n", "utf-8")
    assert list(prose.findings(page)) == []


PROGRAM = '''
"""Return it.

Somebody reads it.
"""
# A comment.
# It stands here.
KEY = "ours"
QUERY = "SELECT told FROM theirs WHERE anew = 1"
TEXT = "nobody " f"waits {KEY} anew"
'''


def test_a_program_is_read_by_its_parts(tmp_path: Path) -> None:
    """Docstrings, comments and messages are checked. Keys and queries aren't."""
    file = tmp_path / "module.py"
    file.write_text(PROGRAM, "utf-8")
    found = [(each.line, each.words) for each in prose.findings(file)]
    assert sorted(found) == [(4, "Somebody"), (7, "stands"), (10, "anew"), (10, "nobody")]


def test_a_schema_is_read_by_its_comments(tmp_path: Path) -> None:
    file = tmp_path / "table.sql"
    file.write_text("CREATE TABLE ours (  -- told\n  anew int\n);\n", "utf-8")
    assert [(each.line, each.words) for each in prose.findings(file)] == [(1, "told")]


def test_a_finding_says_where_and_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("It mends it.\n", "utf-8")
    assert prose.main([str(page)]) == 1
    assert capsys.readouterr().out == "page.md:1: 'mends': fix, repair\n"
