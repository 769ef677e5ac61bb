"""What a rule may not say: each refusal points at its place, and says what mends it."""

from __future__ import annotations

import pytest

from dolt_watch.errors import RuleError
from tests.unit.core.rules.test_compiled_rule import COLUMNS, compiled, refused

ALL = f"issues has: {', '.join(sorted(COLUMNS))}"
FUNCTIONS = (
    "these can be used: ABS, CHAR_LENGTH, COALESCE, CONCAT, IF, IFNULL, LEFT, LENGTH, LOWER, MOD,"
    " NULLIF, REPLACE, RIGHT, SUBSTRING, TRIM, UPPER"
)
ROW_ONLY = "cannot be used: a rule may only ask of the bead's own row"
EMPTY = ("the expression is empty", "write a condition over the columns of issues, or leave it out")
UNEXPECTED = (
    "not understood: Invalid expression / Unexpected token",
    "write one boolean SQL expression",
)
OPENED = (
    "something opened here is never closed",
    "close the quote, or double a quote within text: 'it''s'",
)
NUL = ("there is a NUL character here", "leave it out")
SUBQUERY = (
    "a rule is one expression over the bead's own row: no subqueries",
    "ask of columns of issues only",
)
VALUE = (
    "this is a value, where a condition is needed",
    "compare it with something: `… = …`, `… <> ''`, `… IS NOT NULL`",
)
TWO = ("two comparisons in a row", "put AND between them, or one of them in parentheses")
DEEP = ("nested too deeply", "leave out needless parentheses")
LONG = "the expression is too long or nested too deeply"


def missing(what: str) -> tuple[str, str]:
    return f"not understood: Required keyword: '{what}' missing", UNEXPECTED[1]


def unknown(what: str) -> tuple[str, str]:
    return f"{what} cannot be used in a rule", "a rule compares columns of issues with values"


def clock(what: str) -> tuple[str, str]:
    no_function = f"{what} is no function of the row: its answer changes while the bead does not"
    return no_function, "compare with a fixed date: '2026-01-31'"


def unfilled(what: str) -> tuple[str, str]:
    return f"{what} is a placeholder or a variable: nothing fills it in", "write the value itself"


@pytest.mark.parametrize(
    ("when", "at", "told"),
    [
        ("", 0, EMPTY),
        ("/* nothing */", 0, EMPTY),
        ("+", 0, ("not understood", UNEXPECTED[1])),
        ("ELSE title", 0, ("not understood", UNEXPECTED[1])),
        ("title = 1 2", 10, UNEXPECTED),
        ("title =", 6, missing("expression")),
        ("pinned\n  AND assignee titled", 22, UNEXPECTED),
        ("pinned AND\n\n  title = = 1", 22, missing("expression")),
        ("pinned AND (", 11, missing("this")),
        ("pinned)", 6, UNEXPECTED),
        ("pinned AND ()", 0, unknown("TUPLE")),
        ("'x'(1) = title", 3, UNEXPECTED),
        ("CASE END", 5, ("not understood: Expected END after CASE", UNEXPECTED[1])),
        ("pinned AND title = 'x", 19, OPENED),
        ("'a' = title AND title = \"x", 24, OPENED),
        ("title = 'it''s' AND title = `x", 28, OPENED),
        ("pinned /* x", 7, OPENED),
        ("pinned -- it's\n AND title = 'x", 28, OPENED),
        ("pinned\0", 6, NUL),
        ("x\0 AND y\0", 1, NUL),
        (
            "pinned; DELETE FROM issues",
            6,
            (
                "a rule is one expression, not several statements",
                "leave out the semicolon; join conditions by AND",
            ),
        ),
        ("id IN (SELECT 1)", 7, SUBQUERY),
        ("EXISTS (SELECT 1)", 0, SUBQUERY),
        ("WITH x AS (SELECT 1) SELECT 1", 0, SUBQUERY),
        (
            "pinned AND assigne = 'x'",
            11,
            ("issues has no column assigne", "did you mean assignee?"),
        ),
        ("ASSIGNE = 'x'", 0, ("issues has no column ASSIGNE", "did you mean assignee?")),
        ("Qqqqqq = 1", 0, ("issues has no column Qqqqqq", ALL)),
        (
            "pinned AND issues.title = 'x'",
            11,
            ("a column is written without its table", "leave out the name and the dot"),
        ),
        ("updated_at < NOW()", 13, (f"NOW() {ROW_ONLY}", FUNCTIONS)),
        ("updated_at < UTC_TIMESTAMP()", 13, (f"UTC_TIMESTAMP() {ROW_ONLY}", FUNCTIONS)),
        ("updated_at < CURRENT_TIMESTAMP", 13, clock("CURRENT_TIMESTAMP")),
        ("updated_at < CURRENT_DATE", 13, clock("CURRENT_DATE")),
        ("updated_at < CURRENT_TIME", 13, clock("CURRENT_TIME")),
        ("id = CURRENT_USER", 5, clock("CURRENT_USER")),
        ("'é' = title AND RAND() < 1", 16, (f"RAND() {ROW_ONLY}", FUNCTIONS)),
        ("COUNT(*) > 1", 0, (f"COUNT() {ROW_ONLY}", "did you mean CONCAT?")),
        ("LOWR(title) = 'x'", 0, (f"LOWR() {ROW_ONLY}", "did you mean LOWER?")),
        ("`LOWER`(title) = 'x'", 0, (f"LOWER() {ROW_ONLY}", "did you mean LOWER?")),
        ("1 < MAX(priority) OVER ()", 4, (f"MAX() {ROW_ONLY}", FUNCTIONS)),
        ("pinned = @x", 9, unfilled("@x")),
        ("pinned = @@x", 9, unfilled("@@x")),
        ("title = ?", 8, unfilled("?")),
        ("title = :x", 8, unfilled(":x")),
        ("title = %s", 8, ("%s is a placeholder: nothing fills it in", "write the value itself")),
        ("title = %d", 8, ("%d is a placeholder: nothing fills it in", "write the value itself")),
        ("pinned AND priority", 11, VALUE),
        ("42", 0, VALUE),
        ("'yes'", 0, VALUE),
        ("pinned OR NULL", 0, VALUE),
        ("NOT priority", 4, VALUE),
        ("IF(title, pinned, pinned)", 3, VALUE),
        ("IF(pinned, title, pinned)", 3, VALUE),
        ("IF(pinned, pinned, title)", 3, VALUE),
        ("CASE WHEN title THEN pinned END", 10, VALUE),
        ("CASE WHEN pinned THEN title END", 10, VALUE),
        ("CASE WHEN pinned THEN pinned ELSE title END", 10, VALUE),
        ("COALESCE(pinned, title)", 0, VALUE),
        ("COALESCE(title, pinned)", 0, VALUE),
        ("IF(pinned, pinned)", 3, ("IF takes three arguments", "write IF(condition, then, else)")),
        ("priority = priority = 1", 0, TWO),
        ("priority = 1 IN (2)", 11, TWO),
        ("title = title LIKE 'x'", 8, TWO),
        ("title IN ()", 0, ("IN needs a list of values", "write IN ('a', 'b')")),
        ("title IS id", 9, ("IS is followed by NULL, TRUE or FALSE", "write = or <=>")),
        ("title LIKE 'x' ESCAPE 'ab'", 22, ("ESCAPE takes one character", "write ESCAPE '|'")),
        ("COALESCE(pinned, title)", 0, VALUE),
        ("title LIKE 'x' ESCAPE NULL", 0, ("ESCAPE takes one character", "write ESCAPE '|'")),
        ("title = 'x' ESCAPE '|'", 12, UNEXPECTED),
        (
            "SUBSTRING(title) = 'x'",
            10,
            ("SUBSTRING takes two or three arguments", "write SUBSTRING(column, 1, 3)"),
        ),
        ("CONCAT() = 'x'", 7, missing("expressions")),
        ("title REGEXP 'x'", 6, unknown("REGEXP")),
        ("pinned XOR pinned", 7, unknown("XOR")),
        ("TRIM(LEADING 'x' FROM title) = 'y'", 13, unknown("TRIM")),
        ("title BETWEEN SYMMETRIC 'a' AND 'b'", 0, unknown("BETWEEN")),
        ("* = 1", 0, unknown("STAR")),
        ("(" * 51 + "pinned" + ")" * 51, 50, DEEP),
        ("CASE WHEN pinned THEN " * 51 + "pinned" + " END" * 51, 1100, DEEP),
        (
            " OR ".join(["title = 'x'"] * 399),
            0,
            (LONG, "write a chain of OR as: column IN ('a', 'b')"),
        ),
        (
            " OR ".join(["pinned"] * 2001),
            20000,
            ("the expression is too long", "mark these beads in one column, and ask for that"),
        ),
    ],
)
def test_refused_with_a_caret_and_what_mends_it(when: str, at: int, told: tuple[str, str]) -> None:
    error, found = refused(when)
    assert ((error.message, error.fix), found) == (told, at)


KEY = (
    "a key of order_by is missing",
    "write columns with commas between them: priority, updated_at DESC",
)
SAME = ("this key is the same for every bead", "order by a column, not by a number or text")


@pytest.mark.parametrize(
    ("order_by", "at", "told"),
    [
        ("priority, ", 0, KEY),
        (", priority", 0, KEY),
        ("DESC", 0, KEY),
        ("priority, 1", 10, SAME),
        ("IF(pinned, 1, 2), 'x' DESC", 18, SAME),
        ("priority, NULL", 10, SAME),
        ("priority, RAND()", 10, (f"RAND() {ROW_ONLY}", FUNCTIONS)),
        ("priority DESC, titel DESC", 15, ("issues has no column titel", "did you mean title?")),
        ("priority ASC DESC", 9, UNEXPECTED),
        ("id)", 2, UNEXPECTED),
    ],
)
def test_refused_in_order_by(order_by: str, at: int, told: tuple[str, str]) -> None:
    error, found = refused("pinned", order_by=order_by)
    assert ((error.message, error.fix), found) == (told, at)


def test_where_it_stands_and_how_it_is_shown() -> None:
    for which in ("running", "order_by"):
        assert str(refused("pinned", **{which: "titel = 1"})[0].where).startswith(
            f"rules.r.{which}, column 1:\n"
        )
    where = refused("pinned AND\n\ttitel = 'é'")[0].where
    assert where == "rules.r.when, column 13:\n    pinned AND  titel = 'é'\n                ^"


def test_as_much_as_may_be() -> None:
    compiled("(" * 30 + "pinned" + ")" * 30)
    compiled("CASE WHEN pinned THEN " * 20 + "pinned" + " END" * 20)
    compiled(" OR ".join(["(CASE WHEN pinned THEN pinned END)"] * 60))  # side by side is not nested
    compiled(" OR ".join(["pinned"] * 300))
    compiled(f"NOT title IN ({', '.join(['1'] * 1998)})")
    assert (
        refused(f"title IN ({', '.join(['1'] * 1999)})")[0].message == "the expression is too long"
    )


@pytest.mark.parametrize("when", ["NOT " * 3000 + "pinned", "- " * 3000 + "1 = 1"])
def test_too_deep_for_the_parser(when: str) -> None:
    with pytest.raises(RuleError) as caught:
        compiled(when)
    error = caught.value
    assert (error.message, error.where) == (LONG, "rules.r")
    assert error.fix == "write a chain of OR as `column IN (…)`, and leave out needless parentheses"
