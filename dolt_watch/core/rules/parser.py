"""The parser of a rule's SQL expressions.

It reads an expression, checks it against an allow-list, and writes it again in an engine's dialect.
The database only receives text that is generated from a checked tree, never the user's own text.
The module imports sqlglot, so it is imported late. The tokens are scanned first, because they know
their position, and an error must point to it. The check of the tree comes second and refuses
everything that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError
from sqlglot.tokenizer_core import TokenType

from dolt_watch.core.rules.allowlist import (
    ALLOWED_ARGS,
    ALLOWED_TOKENS,
    COMPARISONS,
    FUNCTIONS,
    OPERATORS,
    REJECTION_REASONS,
)
from dolt_watch.core.rules.running_condition import columns_of
from dolt_watch.errors import RuleError

MAX_DEPTH = 50
"""Levels of parentheses and CASE."""
MAX_LEVELS = 400
"""Levels of the tree. SQLite's limit for a whole statement is 1,000, and each OR of a chain is one
level.
"""
MAX_TOKENS = 4000

# DoltLite declares bd's tinyint(1) as INTEGER(1).
_BOOLEAN_TYPE = re.compile(r"\s*((tinyint|integer)\s*\(\s*1\s*\)|bool\b|boolean\b)", re.IGNORECASE)

_CLOSED = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL
)
_BOOLEANS = (*COMPARISONS, exp.And, exp.Or, exp.Not, exp.Boolean, exp.Escape)
_NO_BOOLEAN = "Compare it with something: `… = …`, `… <> ''`, `… IS NOT NULL`"


def names(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column names by their lower case. MySQL ignores the case of column names."""
    return {name.lower(): name for name in columns}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as the user wrote it, and its place in the settings."""

    where: str
    text: str
    columns: Mapping[str, str]

    def fail(self, message: str, at: int, fix: str) -> NoReturn:
        """Raise an error that points into the expression.

        Line breaks are shown as spaces, so that the caret is below its token.
        """
        shown = "".join(char if char.isprintable() else " " for char in self.text)
        place = f"{self.where}, column {at + 1}:\n    {shown}\n    {' ' * at}^"
        raise RuleError(message, where=place, fix=fix)

    def parse_condition(self) -> exp.Expr:
        """Return the text as one boolean expression."""
        tokens = self._tokens()
        if not tokens:
            self.fail(
                "The expression is empty.",
                0,
                "Write a condition over the columns of issues, or remove the key.",
            )
        tree = self._tree(tokens)
        self._need_boolean(tree)
        return tree

    def parse_order_by(self) -> list[tuple[exp.Expr, bool]]:
        """Return the text as ``order_by``: expressions, and whether each is descending."""
        tokens = self._tokens()
        parts: list[list[Any]] = [[]]
        depth = 0
        # Split at the commas outside parentheses: a key can contain a function call.
        for token in tokens:
            depth += (token.token_type == TokenType.L_PAREN) - (
                token.token_type == TokenType.R_PAREN
            )
            if token.token_type == TokenType.COMMA and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        keys = []
        # ASC and DESC aren't part of the expression.
        for part in parts if tokens else []:
            way = (
                part[-1].text.upper()
                if part and part[-1].token_type in (TokenType.ASC, TokenType.DESC)
                else ""
            )
            part = part[:-1] if way else part
            if not part:
                self.fail(
                    "A key of order_by is missing.",
                    0,
                    "Separate columns with commas: priority, updated_at DESC",
                )
            tree = self._tree(part)
            if not columns_of(tree):
                self.fail(
                    "This key is the same for every bead.",
                    part[0].start,
                    "Order by a column, not by a number or text.",
                )
            keys.append((tree, way == "DESC"))
        return keys

    # -- tokens --------------------

    def _tokens(self) -> list[Any]:
        if "\0" in self.text:
            self.fail(
                "The expression contains a NUL character.", self.text.index("\0"), "Remove it."
            )
        try:
            # After a parenthesis, since REPLACE(…) at the beginning would be read as the statement
            # of that name.
            tokens = Dialect.get_or_raise("mysql").tokenize("(" + self.text)[1:]
        except SqlglotError:
            opened = re.search(
                r"['\"`]|/\*", _CLOSED.sub(lambda found: "x" * len(found[0]), self.text)
            )
            at = opened.start() if opened else 0
            self.fail(
                "A quote or parenthesis that is opened here is never closed.",
                at,
                "Close the quote, or double a quote within text: 'it''s'",
            )
        for token in tokens:
            token.start, token.end = token.start - 1, token.end - 1
        if len(tokens) > MAX_TOKENS:
            self.fail(
                "The expression is too long.",
                tokens[MAX_TOKENS].start,
                "Mark these beads in one column, and use that column.",
            )
        known, depth = names(self.columns), 0
        for index, token in enumerate(tokens):
            depth += token.token_type in (TokenType.L_PAREN, TokenType.CASE)
            depth -= token.token_type in (TokenType.R_PAREN, TokenType.END)
            if depth > MAX_DEPTH:
                self.fail(
                    "The expression is nested too deeply.",
                    token.start,
                    "Remove unnecessary parentheses.",
                )
            self._scan(tokens, index, known)
        return tokens

    def _scan(self, tokens: Sequence[Any], index: int, known: Mapping[str, str]) -> None:
        token, kind = tokens[index], tokens[index].token_type
        follows = tokens[index + 1] if index + 1 < len(tokens) else None
        word = token.text.upper()
        if (
            follows is not None
            and follows.token_type == TokenType.DOT
            and kind in (TokenType.VAR, TokenType.IDENTIFIER)
        ):
            self.fail(
                "A column must be written without its table.",
                token.start,
                "Remove the name and the dot.",
            )
        if (
            kind == TokenType.MOD
            and follows is not None
            and follows.text in ("s", "d")
            and follows.start == token.end + 1
        ):
            self.fail(
                f"%{follows.text} is a placeholder, and no value is supplied for it.",
                token.start,
                "Write the value itself.",
            )
        if kind in REJECTION_REASONS:
            spelt = re.match(r"@{1,2}\w*|:\w*", self.text[token.start :])
            self.fail(*_why(kind, spelt[0] if spelt else word, token.start))
        if (
            follows is not None
            and follows.token_type == TokenType.L_PAREN
            and kind not in OPERATORS
        ):
            if kind in (TokenType.STRING, TokenType.NUMBER):
                return  # The parser's message is better.
            if word not in FUNCTIONS or kind == TokenType.IDENTIFIER:
                near = get_close_matches(word, FUNCTIONS, 1)
                fix = (
                    f"Did you mean {near[0]}?"
                    if near
                    else f"Use one of: {', '.join(sorted(FUNCTIONS))}"
                )
                self.fail(
                    f"{word}() can't be used: a rule may only depend on the bead's own row.",
                    token.start,
                    fix,
                )
        elif kind not in OPERATORS and kind not in ALLOWED_TOKENS and word.lower() not in known:
            self.fail(
                f"{token.text} can't be used in a rule.",
                token.start,
                "Compare columns of issues with values.",
            )

    # -- the tree --------------------

    def _tree(self, tokens: list[Any]) -> exp.Expr:
        parser = Dialect.get_or_raise("mysql").parser(error_level=ErrorLevel.IMMEDIATE)
        try:
            trees: list[Any] = parser.parse_into(exp.Condition, tokens)
        except ParseError as error:
            first = error.errors[0]
            at = next(
                (t.start for t in tokens if (t.line, t.col) == (first["line"], first["col"])),
                tokens[-1].start,
            )
            description = first["description"].split(" for <class")[0]
            self.fail(f"Syntax error: {description}.", at, "Write one boolean SQL expression.")
        # No tree if the text begins with ELSE, and ``None`` if it begins with +.
        tree = next(iter(trees), None)
        if tree is None:
            self.fail("Syntax error.", tokens[0].start, "Write one boolean SQL expression.")
        nodes = list(tree.bfs())
        if _depth(nodes) > MAX_LEVELS:
            self.fail(
                "The expression is too long or nested too deeply.",
                tokens[0].start,
                "Write a chain of OR as: column IN ('a', 'b')",
            )
        known = names(self.columns)
        for node in nodes:
            self._check(node, known)
        for node in nodes:  # A second loop, because this check looks up the types of columns.
            for condition in _conditions(node):
                self._need_boolean(condition)
        return tree  # type: ignore[no-any-return]

    def _check(self, node: Any, known: Mapping[str, str]) -> None:
        at = _offset(node)
        allowed = ALLOWED_ARGS.get(type(node))
        # An allow-list: an SQL feature that is not listed could be slow, volatile or unknown to an
        # engine.
        if allowed is None or any(
            value for name, value in node.args.items() if name not in allowed
        ):
            self.fail(
                f"{type(node).__name__.upper()} can't be used in a rule.",
                at,
                "Compare columns of issues with values.",
            )
        # sqlglot accepts more than both engines do. Each case is an error on one of them.
        if isinstance(node, exp.Column):
            if not isinstance(node.this, exp.Identifier) or node.name.lower() not in known:
                self.fail(
                    f"The table issues has no column {node.name}.",
                    at,
                    self._column_fix(node, known),
                )
            node.this.set("this", known[node.name.lower()])
        elif isinstance(node, COMPARISONS):
            for operand in node.iter_expressions():
                if isinstance(operand, _BOOLEANS) and not isinstance(operand, exp.Boolean):
                    self.fail(
                        "Two comparisons follow each other.",
                        _offset(operand),
                        "Put AND between them, or put one of them in parentheses.",
                    )
            if isinstance(node, exp.Is) and not isinstance(node.expression, exp.Null | exp.Boolean):
                self.fail(
                    "IS must be followed by NULL, TRUE or FALSE.",
                    _offset(node.expression),
                    "Write = or <=>.",
                )
            if isinstance(node, exp.In) and not node.expressions:
                self.fail("IN requires a list of values.", at, "Write IN ('a', 'b').")
        elif isinstance(node, exp.Escape):
            letter = node.expression
            if not isinstance(node.this, exp.Like) or not letter.is_string or len(letter.name) > 1:
                self.fail("ESCAPE requires one character.", _offset(letter), "Write ESCAPE '|'.")
        elif (
            isinstance(node, exp.If)
            and not isinstance(node.parent, exp.Case)
            and node.args.get("false") is None
        ):
            self.fail("IF requires three arguments.", at, "Write IF(condition, then, else).")
        elif isinstance(node, exp.Substring) and node.args.get("start") is None:
            self.fail(
                "SUBSTRING requires two or three arguments.", at, "Write SUBSTRING(column, 1, 3)."
            )

    def _column_fix(self, node: Any, known: Mapping[str, str]) -> str:
        """Return the fix for an unknown column, which may be text without its quotes."""
        near = get_close_matches(node.name.lower(), known, 1)
        column = f"Did you mean {known[near[0]]}?" if near else ""
        # In `assignee = agent`, the value is usually text. In `agent = assignee`, it is a column.
        if isinstance(node.parent, COMPARISONS) and node.parent.this is not node:
            text = node.name.replace("'", "''")
            return f"Put text in quotes: '{text}'. {column}".rstrip()
        return column or f"The columns of issues are: {', '.join(sorted(self.columns))}"

    def _need_boolean(self, node: Any) -> None:
        if not self._is_boolean(node):
            self.fail("Expected a condition, but found a value.", _offset(node), _NO_BOOLEAN)

    def _is_boolean(self, node: Any) -> bool:
        if isinstance(node, exp.Paren):
            return self._is_boolean(node.this)
        if isinstance(node, exp.Column):
            return bool(_BOOLEAN_TYPE.match(self.columns[node.name]))
        if isinstance(node, exp.If):
            return all(
                self._is_boolean(x)
                for x in (node.args.get("true"), node.args.get("false"))
                if x is not None
            )
        if isinstance(node, exp.Case):
            ends = [*(part.args.get("true") for part in node.args["ifs"]), node.args.get("default")]
            return all(self._is_boolean(end) for end in ends if end is not None)
        if isinstance(node, exp.Coalesce):
            return all(self._is_boolean(value) for value in (node.this, *node.expressions))
        return isinstance(node, _BOOLEANS)


def _why(kind: Any, word: str, at: int) -> tuple[str, int, str]:
    message, fix = REJECTION_REASONS[kind]
    return message.replace("{}", word), at, fix


def _depth(nodes: Sequence[Any]) -> int:
    """Return the number of levels of a tree.

    ``nodes`` has each parent before its children. There is no recursion, because a tree may be
    deep.
    """
    levels: dict[int, int] = {}
    for node in nodes:
        levels[id(node)] = levels.get(id(node.parent), 0) + 1
    return max(levels.values())


def _conditions(node: Any) -> list[Any]:
    """Return the parts of a node that must be conditions.

    MySQL would read text there as a number, SQLite would not.
    """
    if isinstance(node, exp.And | exp.Or):
        return [node.this, node.expression]
    if isinstance(node, exp.Not):
        return [node.this]
    if isinstance(node, exp.If) and not (isinstance(node.parent, exp.Case) and node.parent.this):
        return [node.this]
    return []


def _offset(node: Any) -> int:
    """Return the position of a node: its own if the parser kept it, otherwise that of its first
    part with a position.
    """
    places = [
        found.meta["start"] for found in node.walk() if found._meta and "start" in found._meta
    ]
    return min(places, default=0)
