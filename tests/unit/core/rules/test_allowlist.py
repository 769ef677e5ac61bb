"""Forbidden expressions in a rule: each error names the position and a fix."""

from __future__ import annotations

import pytest

from dolt_watch.errors import RuleError
from tests.unit.core.rules.test_compiled_rule import COLUMNS, compiled, refused

ALL = f"The columns of issues are: {', '.join(sorted(COLUMNS))}"
FUNCTIONS = (
    "Use one of: ABS, CHAR_LENGTH, COALESCE, CONCAT, IF, IFNULL, LEFT, LENGTH, LOWER, MOD,"
    " NULLIF, REPLACE, RIGHT, SUBSTRING, TRIM, UPPER"
)
ROW_ONLY = "can't be used: a rule may only depend on the bead's own row."
EMPTY = (
    "The expression is empty.",
    "Write a condition over the columns of issues, or remove the key.",
)
UNEXPECTED = (
    "Syntax error: Invalid expression / Unexpected token.",
    "Write one boolean SQL expression.",
)
OPENED = (
    "A quote or parenthesis that is opened here is never closed.",
    "Close the quote, or double a quote within text: 'it''s'",
)
NUL = ("The expression contains a NUL character.", "Remove it.")
SUBQUERY = (
    "A rule is one expression over the bead's own row. Subqueries aren't allowed.",
    "Use only columns of issues.",
)
VALUE = (
    "Expected a condition, but found a value.",
    "Compare it with something: `… = …`, `… <> ''`, `… IS NOT NULL`",
)
TWO = (
    "Two comparisons follow each other.",
    "Put AND between them, or put one of them in parentheses.",
)
DEEP = ("The expression is nested too deeply.", "Remove unnecessary parentheses.")
LONG = "The expression is too long or nested too deeply."


def missing(what: str) -> tuple[str, str]:
    return f"Syntax error: Required keyword: '{what}' missing.", UNEXPECTED[1]


def unknown(what: str) -> tuple[str, str]:
    return f"{what} can't be used in a rule.", "Compare columns of issues with values."


def clock(what: str) -> tuple[str, str]:
    no_function = f"{what} is not a function of the row: its result changes while the bead doesn't."
    return no_function, "Compare with a fixed date: '2026-01-31'"


def unfilled(what: str) -> tuple[str, str]:
    return (
        f"{what} is a placeholder or a variable, and no value is supplied for it.",
        "Write the value itself.",
    )


@pytest.mark.parametrize(
    ("when", "at", "told"),
    [
        ("", 0, EMPTY),
        ("/* nothing */", 0, EMPTY),
        ("+", 0, ("Syntax error.", UNEXPECTED[1])),
        ("ELSE title", 0, ("Syntax error.", UNEXPECTED[1])),
        ("title = 1 2", 10, UNEXPECTED),
        ("title =", 6, missing("expression")),
        ("pinned\n  AND assignee titled", 22, UNEXPECTED),
        ("pinned AND\n\n  title = = 1", 22, missing("expression")),
        ("pinned AND (", 11, missing("this")),
        ("pinned)", 6, UNEXPECTED),
        ("pinned AND ()", 0, unknown("TUPLE")),
        ("'x'(1) = title", 3, UNEXPECTED),
        ("CASE END", 5, ("Syntax error: Expected END after CASE.", UNEXPECTED[1])),
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
                "A rule is one expression, not several statements.",
                "Remove the semicolon. Join conditions with AND.",
            ),
        ),
        ("id IN (SELECT 1)", 7, SUBQUERY),
        ("EXISTS (SELECT 1)", 0, SUBQUERY),
        ("WITH x AS (SELECT 1) SELECT 1", 0, SUBQUERY),
        (
            "pinned AND assigne = 'x'",
            11,
            ("The table issues has no column assigne.", "Did you mean assignee?"),
        ),
        ("ASSIGNE = 'x'", 0, ("The table issues has no column ASSIGNE.", "Did you mean assignee?")),
        ("Qqqqqq = 1", 0, ("The table issues has no column Qqqqqq.", ALL)),
        (
            "status = qqqqqq",
            9,
            ("The table issues has no column qqqqqq.", "Put text in quotes: 'qqqqqq'."),
        ),
        (
            "assignee = asigne",
            11,
            (
                "The table issues has no column asigne.",
                "Put text in quotes: 'asigne'. Did you mean assignee?",
            ),
        ),
        (
            "status IN ('open', shut)",
            19,
            ("The table issues has no column shut.", "Put text in quotes: 'shut'."),
        ),
        (
            "status = `it's`",
            9,
            ("The table issues has no column it's.", "Put text in quotes: 'it''s'."),
        ),
        (
            "pinned AND issues.title = 'x'",
            11,
            ("A column must be written without its table.", "Remove the name and the dot."),
        ),
        ("updated_at < NOW()", 13, (f"NOW() {ROW_ONLY}", FUNCTIONS)),
        ("updated_at < UTC_TIMESTAMP()", 13, (f"UTC_TIMESTAMP() {ROW_ONLY}", FUNCTIONS)),
        ("updated_at < CURRENT_TIMESTAMP", 13, clock("CURRENT_TIMESTAMP")),
        ("updated_at < CURRENT_DATE", 13, clock("CURRENT_DATE")),
        ("updated_at < CURRENT_TIME", 13, clock("CURRENT_TIME")),
        ("id = CURRENT_USER", 5, clock("CURRENT_USER")),
        ("'é' = title AND RAND() < 1", 16, (f"RAND() {ROW_ONLY}", FUNCTIONS)),
        ("COUNT(*) > 1", 0, (f"COUNT() {ROW_ONLY}", "Did you mean CONCAT?")),
        ("LOWR(title) = 'x'", 0, (f"LOWR() {ROW_ONLY}", "Did you mean LOWER?")),
        ("`LOWER`(title) = 'x'", 0, (f"LOWER() {ROW_ONLY}", "Did you mean LOWER?")),
        ("1 < MAX(priority) OVER ()", 4, (f"MAX() {ROW_ONLY}", FUNCTIONS)),
        ("pinned = @x", 9, unfilled("@x")),
        ("pinned = @@x", 9, unfilled("@@x")),
        ("title = ?", 8, unfilled("?")),
        ("title = :x", 8, unfilled(":x")),
        (
            "title = %s",
            8,
            ("%s is a placeholder, and no value is supplied for it.", "Write the value itself."),
        ),
        (
            "title = %d",
            8,
            ("%d is a placeholder, and no value is supplied for it.", "Write the value itself."),
        ),
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
        (
            "IF(pinned, pinned)",
            3,
            ("IF requires three arguments.", "Write IF(condition, then, else)."),
        ),
        ("priority = priority = 1", 0, TWO),
        ("priority = 1 IN (2)", 11, TWO),
        ("title = title LIKE 'x'", 8, TWO),
        ("title IN ()", 0, ("IN requires a list of values.", "Write IN ('a', 'b').")),
        ("title IS id", 9, ("IS must be followed by NULL, TRUE or FALSE.", "Write = or <=>.")),
        ("title LIKE 'x' ESCAPE 'ab'", 22, ("ESCAPE requires one character.", "Write ESCAPE '|'.")),
        ("COALESCE(pinned, title)", 0, VALUE),
        ("title LIKE 'x' ESCAPE NULL", 0, ("ESCAPE requires one character.", "Write ESCAPE '|'.")),
        ("title = 'x' ESCAPE '|'", 12, UNEXPECTED),
        (
            "SUBSTRING(title) = 'x'",
            10,
            ("SUBSTRING requires two or three arguments.", "Write SUBSTRING(column, 1, 3)."),
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
            (LONG, "Write a chain of OR as: column IN ('a', 'b')"),
        ),
        (
            " OR ".join(["pinned"] * 2001),
            20000,
            ("The expression is too long.", "Mark these beads in one column, and use that column."),
        ),
    ],
)
def test_refused_with_a_caret_and_what_mends_it(when: str, at: int, told: tuple[str, str]) -> None:
    error, found = refused(when)
    assert ((error.message, error.fix), found) == (told, at)


KEY = (
    "A key of order_by is missing.",
    "Separate columns with commas: priority, updated_at DESC",
)
SAME = ("This key is the same for every bead.", "Order by a column, not by a number or text.")


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
        (
            "priority DESC, titel DESC",
            15,
            ("The table issues has no column titel.", "Did you mean title?"),
        ),
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
    # Expressions next to each other aren't nested.
    compiled(" OR ".join(["(CASE WHEN pinned THEN pinned END)"] * 60))
    compiled(" OR ".join(["pinned"] * 300))
    compiled(f"NOT title IN ({', '.join(['1'] * 1998)})")
    assert (
        refused(f"title IN ({', '.join(['1'] * 1999)})")[0].message == "The expression is too long."
    )


@pytest.mark.parametrize("when", ["NOT " * 3000 + "pinned", "- " * 3000 + "1 = 1"])
def test_too_deep_for_the_parser(when: str) -> None:
    with pytest.raises(RuleError) as caught:
        compiled(when)
    error = caught.value
    assert (error.message, error.where) == (LONG, "rules.r")
    assert (
        error.fix == "Write a chain of OR as `column IN (…)`, and remove unnecessary parentheses."
    )
