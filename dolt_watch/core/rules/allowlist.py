"""The allow-list of a rule's expression.

Everything else is refused. The list contains only pure functions of the row.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

_TWO = frozenset({"this", "expression"})
_ONE = frozenset({"this"})

FUNCTIONS = frozenset(
    [
        "LOWER",
        "UPPER",
        "TRIM",
        "LENGTH",
        "CHAR_LENGTH",
        "COALESCE",
        "IFNULL",
        "IF",
        "NULLIF",
        "SUBSTRING",
        "LEFT",
        "RIGHT",
        "CONCAT",
        "REPLACE",
        "ABS",
        "MOD",
    ]
)

COMPARISONS = (
    exp.EQ,
    exp.NEQ,
    exp.LT,
    exp.LTE,
    exp.GT,
    exp.GTE,
    exp.NullSafeEQ,
    exp.Like,
    exp.In,
    exp.Between,
    exp.Is,
)

ALLOWED_ARGS: dict[type[Any], frozenset[str]] = {
    **{kind: _TWO for kind in (exp.And, exp.Or, exp.Escape, *COMPARISONS)},
    **{
        kind: _TWO
        for kind in (
            exp.Add,
            exp.Sub,
            exp.Mul,
            exp.IntDiv,
            exp.Mod,
            exp.Nullif,
            exp.Left,
            exp.Right,
        )
    },
    **{kind: _ONE for kind in (exp.Column, exp.Boolean, exp.Null, exp.Paren, exp.Not, exp.Neg)},
    **{kind: _ONE for kind in (exp.Lower, exp.Upper, exp.Trim, exp.Abs)},
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Like: _TWO | {"negate"},
    exp.In: frozenset({"this", "expressions"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Div: _TWO | {"typed", "safe"},
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.Length: frozenset({"this", "binary"}),
    exp.Coalesce: frozenset({"this", "expressions"}),
    exp.Substring: frozenset({"this", "start", "length"}),
    exp.Concat: frozenset({"expressions", "safe", "coalesce"}),
    exp.Replace: frozenset({"this", "expression", "replacement"}),
}
"""Kind of node → the arguments that it may have."""


def _types(words: str) -> frozenset[Any]:
    return frozenset(getattr(TokenType, word) for word in words.split())


OPERATORS = _types(
    "L_PAREN R_PAREN COMMA EQ NEQ LT LTE GT GTE NULLSAFE_EQ AND OR DAMP DPIPE NOT IN LIKE ESCAPE"
    " BETWEEN IS CASE WHEN THEN ELSE END PLUS DASH STAR SLASH DIV FROM FOR ASC DESC DOT"
)
"""Tokens that may precede a parenthesis without making a function call."""

ALLOWED_TOKENS = _types("VAR IDENTIFIER STRING NUMBER NULL TRUE FALSE MOD")
"""Other tokens that a rule may contain anywhere."""

_LITERALLY = "Write the value itself."
_PARAMETER = ("{} is a placeholder or a variable, and no value is supplied for it.", _LITERALLY)
_SUBQUERY = (
    "A rule is one expression over the bead's own row. Subqueries aren't allowed.",
    "Use only columns of issues.",
)
_CLOCK = (
    "{} is not a function of the row: its result changes while the bead doesn't.",
    "Compare with a fixed date: '2026-01-31'",
)

REJECTION_REASONS: dict[Any, tuple[str, str]] = {
    TokenType.SEMICOLON: (
        "A rule is one expression, not several statements.",
        "Remove the semicolon. Join conditions with AND.",
    ),
    TokenType.PLACEHOLDER: _PARAMETER,
    TokenType.PARAMETER: _PARAMETER,
    TokenType.SESSION_PARAMETER: _PARAMETER,
    TokenType.COLON: _PARAMETER,
    TokenType.SELECT: _SUBQUERY,
    TokenType.WITH: _SUBQUERY,
    TokenType.EXISTS: _SUBQUERY,
    TokenType.CURRENT_DATE: _CLOCK,
    TokenType.CURRENT_TIME: _CLOCK,
    TokenType.CURRENT_TIMESTAMP: _CLOCK,
    TokenType.CURRENT_USER: _CLOCK,
}
"""Tokens that are refused with a message of their own: message and fix."""
