"""A rule's SQL: checked, and compiled onto the columns of a diff and of a row.

What a user wrote is never sent to a database. It is parsed, every token and every node must be one that is known to mean the same on both
engines, and text is generated anew from the tree. sqlglot is imported inside functions only: a tick whose compiled rules are cached does without it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from dolt_watch.errors import RuleError
from dolt_watch.model import DEFAULT_ORDER_BY, DEFAULT_WHEN, IN_PROGRESS, OPEN, Rule

FORMAT = 1
"""Of ``CompiledRule``'s JSON and of what is generated: raise it when either changes, so that cached text is not used again."""
OWN_CELLS = ("status", "notes")
"""The cells of ``issues`` that we write ourselves."""
LONGEST, MOST_TOKENS, DEEPEST = 8_000, 1_500, 40
"""Characters, tokens, nested parentheses: SQLite refuses a tree deeper than 1,000, and Python's stack ends sooner."""

FUNCTIONS = frozenset(
    ["ABS", "CHAR_LENGTH", "CHARACTER_LENGTH", "COALESCE", "CONCAT", "IF", "IFNULL", "JSON_EXTRACT", "JSON_UNQUOTE", "LCASE", "LEFT", "LENGTH", "LOWER", "NULLIF", "REPLACE", "RIGHT", "SUBSTR", "SUBSTRING", "TRIM", "UCASE", "UPPER"]
)
"""All that a rule may call: functions of the row, with one meaning on both engines."""
_TOKENS = frozenset(
    ["STRING", "NUMBER", "NULL", "TRUE", "FALSE", "AND", "DAMP", "OR", "NOT", "EQ", "NEQ", "NULLSAFE_EQ", "LT", "LTE", "GT", "GTE", "PLUS", "DASH", "STAR", "SLASH", "MOD", "L_PAREN", "R_PAREN", "COMMA", "IN", "BETWEEN", "IS", "LIKE", "ESCAPE", "RLIKE", "CASE", "WHEN", "THEN", "ELSE", "END", "ARROW", "DARROW"]
)
_COMPARE = frozenset(["EQ", "NEQ", "GT", "GTE", "LT", "LTE", "NullSafeEQ"])
_PREDICATE = _COMPARE | frozenset(["Is", "In", "Between", "Like", "Escape", "RegexpLike", "Not"])
_ARITHMETIC = frozenset(["Add", "Sub", "Mul", "Div", "Mod"])
_LIKE = {"boolean": "number", "number": "number", "text": "text", "time": "time"}
_TIMES = frozenset(["created_at", "updated_at", "closed_at", "compacted_at", "last_activity", "due_at", "defer_until", "started_at"])
"""beads' datetime columns, by name: DoltLite declares them as text."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_PATH = re.compile(r"\$(\.[A-Za-z_][A-Za-z0-9_]*|\[\d+\])+", re.ASCII)
_TRAPS = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`|(?P<trap>\{|/\*[!+]|--(?![\s]|$))|\#[^\n]*|--[^\n]*|(?P<open>/\*)(?P<body>.*?\*/)?""",
    re.DOTALL,
)
"""What sqlglot and MySQL read differently: comments that MySQL executes, '--' without a space after it, nested or open comments, sqlglot's templates."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule as SQL text in the engine's dialect, over ``from_<column>``, ``to_<column>`` and ``<column>``."""

    rule: str
    when_from: str
    when_to: str
    when_row: str
    running_from: str
    running_to: str
    running_row: str
    rank_to: tuple[str, ...]
    """One expression an ``order_by`` key."""
    rank_row: tuple[str, ...]
    descending: tuple[bool, ...]
    columns: tuple[str, ...]
    """Columns of issues that the three expressions use, sorted."""
    when_put_back: str
    """``when`` over the row, our own cells (``OWN_CELLS``) as ``?``: does it match, had we not written them?"""
    put_back_order: tuple[str, ...]
    """The column of each ``?``."""

    def released(self) -> tuple[str, tuple[str, ...]]:
        """``when_put_back`` and its parameters' columns: where it no longer holds, the claim is released."""
        return self.when_put_back, self.put_back_order

    def to_json(self) -> dict[str, Any]:
        """Strings, booleans and lists of them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``. Raises TypeError for another format's fields."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


def compile_rule(rule: Rule, columns: Mapping[str, str], dialect: str) -> CompiledRule:
    """``columns``: name → SQL type of ``issues``; ``dialect``: 'mysql' or 'sqlite'. Raises RuleError, which points into the expression."""
    when = _read(rule, "when", columns, dialect)
    running = _read(rule, "running", columns, dialect) if rule.running else _derived(when, rule, columns)
    keys = list(_order(rule, columns, dialect))
    ranks = [tree for tree, _ in keys]
    with _bounded(f"rules.{rule.name}"):
        put_back, order = _put_back(when, dialect, OWN_CELLS)
        return CompiledRule(
            rule=rule.name,
            **{f"when_{side}": _text(when, dialect, prefix) for side, prefix in _SIDES.items()},
            **{f"running_{side}": _text(running, dialect, prefix) for side, prefix in _SIDES.items()},
            rank_to=tuple(_text(tree, dialect, "to_") for tree in ranks),
            rank_row=tuple(_text(tree, dialect) for tree in ranks),
            descending=tuple(down for _, down in keys),
            columns=tuple(sorted(set().union(*map(_names, (when, running, *ranks))))),
            when_put_back=put_back,
            put_back_order=order,
        )


_SIDES = {"from": "from_", "to": "to_", "row": ""}


def check(rule: Rule, columns: Mapping[str, str], dialect: str) -> None:
    """Raises RuleError where the rule is not usable."""
    compile_rule(rule, columns, dialect)


def put_back(
    rule: Rule, columns: Mapping[str, str], dialect: str, cells: Sequence[str] = OWN_CELLS
) -> tuple[str, tuple[str, ...]]:
    """``when`` over the row with ``cells`` as ``?``, and the column of each ``?`` in order. Raises RuleError."""
    tree = _read(rule, "when", columns, dialect)
    with _bounded(f"rules.{rule.name}.when"):
        return _put_back(tree, dialect, cells)


def fingerprint(rules: Sequence[Rule], columns: Mapping[str, str], dialect: str, version: str) -> str:
    """Keys the cache of compiled rules: the same as long as what they are compiled from, and by, is the same."""
    texts = [(rule.name, rule.when, rule.running, rule.order_by) for rule in rules]
    content = json.dumps([FORMAT, version, dialect, sorted(columns.items()), texts])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


# -- the order of the queue, in Python ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Down:
    value: tuple[Any, ...]

    def __lt__(self, other: _Down) -> bool:
        return other.value < self.value


def rank_key(rank: Sequence[Any], descending: Sequence[bool], bead: str) -> Any:
    """Sort key: as MySQL orders, NULL first ascending and last descending, then by id. Values of any mixture of types compare."""
    keys = [_comparable(value) for value in rank]
    down = [*descending, *[False] * len(keys)]
    return (*(_Down(key) if down[at] else key for at, key in enumerate(keys)), bead)


def _comparable(value: Any) -> tuple[Any, ...]:
    """A class, then the value. Time as text (DoltLite, JSON) and as datetime (Dolt) are one class, and one value."""
    if (
        value is None
        or (isinstance(value, float) and value != value)
        or (isinstance(value, Decimal) and value.is_nan())
    ):
        return (0,)
    if isinstance(value, (int, float, Decimal)):
        return (1, value)
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return (2, value)
    if isinstance(value, datetime):
        try:
            value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        except OverflowError:
            value = value.replace(tzinfo=None)
        return (2, value.isoformat(" ", "microseconds"))
    return (2, value) if isinstance(value, str) else (3, type(value).__name__, repr(value))


# -- from text to a tree that is known to be harmless ------------------------------------------------------------


class _Source:
    """One expression, where it stands in the settings, and how to point into it. Offsets count from its first character."""

    def __init__(self, rule: Rule, key: str, columns: Mapping[str, str], dialect: str) -> None:
        self.name = f"rules.{rule.name}.{key}"
        self.text: str = getattr(rule, key)
        self.columns = columns
        self.lower = {name.lower(): name for name in columns}
        self.dialect = dialect

    def refuse(self, message: str, start: int, end: int, fix: str) -> RuleError:
        """``end`` is exclusive; the caret stays on the line of ``start``."""
        lines = self.text[:start].split("\n")
        first = start - len(lines[-1])
        line = self.text[first:].split("\n")[0].rstrip("\r")
        column = start - first
        number = f"line {len(lines)}, " if "\n" in self.text else ""
        blank = re.sub(r"[^\t]", " ", line[:column])
        width = max(1, min(end, first + len(line)) - start)
        where = f"{self.name}, {number}column {column + 1}:\n{line}\n{blank}{'^' * width}"
        return RuleError(message, where=where, fix=fix)

    def at_token(self, message: str, token: Any, fix: str, last: Any = None) -> RuleError:
        return self.refuse(message, token.start - _PAD, (last or token).end - _PAD + 1, fix)

    def at_node(self, message: str, node: Any, fix: str) -> RuleError:
        spans = [found.meta for found in node.walk() if "start" in found.meta]
        if not spans:
            return self.refuse(message, 0, len(self.text), fix)
        return self.refuse(message, min(m["start"] for m in spans) - _PAD, max(m["end"] for m in spans) - _PAD + 1, fix)

    def unknown(self, name: str, token: Any) -> RuleError:
        near = difflib.get_close_matches(name.lower(), self.lower, 1)
        fix = f"did you mean {self.lower[near[0]]}?" if near else "use a column of issues; text goes in single quotes"
        return self.at_token(f"issues has no column {name}", token, fix)


_START = "SELECT "
_PAD = len(_START)
"""Tokenised after SELECT, as sqlglot swallows what follows a statement's first word (REPLACE, SHOW) whole."""
_FIX_FUNCTION = "a rule is a function of the row; it may call " + ", ".join(sorted(FUNCTIONS))


@contextmanager
def _bounded(where: str) -> Iterator[None]:
    """sqlglot descends recursively: an expression too deep for Python's stack is the user's error, not a crash."""
    from sqlglot.errors import SqlglotError

    try:
        yield
    except RecursionError:
        raise RuleError("the expression is nested too deeply", where=where, fix="write it shorter") from None
    except SqlglotError as error:
        raise RuleError(f"the expression has no form on this engine: {error}", where=where, fix="simplify it") from None


def _read(rule: Rule, key: str, columns: Mapping[str, str], dialect: str) -> Any:
    source = _Source(rule, key, columns, dialect)
    with _bounded(source.name):
        tree = _parse(source, _tokens(source))
        checker = _Checker(source)
        kind = checker.whole(tree)
        if kind != "boolean":
            raise source.at_node(
                f"the expression is {_A[kind]}, not a condition", tree.this, "compare it, as in priority < 2"
            )
        return tree.this


def _order(rule: Rule, columns: Mapping[str, str], dialect: str) -> Iterator[tuple[Any, bool]]:
    source = _Source(rule, "order_by", columns, dialect)
    with _bounded(source.name):
        for part, down in _keys(source, _tokens(source, extra=frozenset({"ASC", "DESC"}))):
            tree = _parse(source, part)
            _Checker(source).whole(tree)
            if not _names(tree):
                raise source.at_node("this key is the same for every bead", tree.this, "order by a column, not a place")
            yield tree.this, down


def _keys(source: _Source, tokens: list[Any]) -> Iterator[tuple[list[Any], bool]]:
    """The tokens of each key, without its ASC or DESC."""
    parts: list[list[Any]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"L_PAREN": 1, "R_PAREN": -1}.get(token.token_type.name, 0)
        if token.token_type.name == "COMMA" and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
        if token.token_type.name == "COMMA" and not depth and (token is tokens[-1] or len(parts[-2]) == 0):
            raise source.at_token("a key is missing beside this comma", token, f"as in {DEFAULT_ORDER_BY}")
    for part in parts:
        word = part[-1].token_type.name
        if word in {"ASC", "DESC"} and len(part) == 1:
            raise source.at_token("a key is missing before this word", part[0], f"as in {DEFAULT_ORDER_BY}")
        yield part[:-1] if word in {"ASC", "DESC"} else part, word == "DESC"


def _tokens(source: _Source, extra: frozenset[str] = frozenset()) -> list[Any]:
    """The tokens, each of which a rule may hold. Raises RuleError."""
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import TokenError

    text = source.text
    example = f"as in {DEFAULT_ORDER_BY if extra else DEFAULT_WHEN}"
    if len(text) > LONGEST:
        raise RuleError(
            f"the expression is longer than {LONGEST} characters", where=source.name, fix="write it shorter"
        )
    for found in _TRAPS.finditer(text):
        if found["trap"] or (found["open"] and (not found["body"] or "/*" in found["body"])):
            message = "a comment that databases read differently" if found[0] != "{" else "'{' is not SQL"
            raise source.refuse(message, found.start(), found.start() + len(found["trap"] or "/*"), "leave it out")
    odd = re.search("[\x00\ud800-\udfff]", text)
    if odd:
        raise source.refuse("a character that SQL text cannot hold", odd.start(), odd.end(), "leave it out")
    try:
        tokens = Dialect.get_or_raise("mysql").tokenize(_START + text)[1:]
    except TokenError as error:
        begun = re.search(r"from \d+:(\d+)", str(error.__cause__))
        start = max(0, int(begun[1]) - _PAD) if begun else 0
        raise source.refuse(
            "a quote is not closed", start, start + 1, "close it; a quote inside text is doubled: ''"
        ) from None
    if not tokens:
        raise RuleError("the expression is empty", where=source.name, fix=example)
    if len(tokens) > MOST_TOKENS:
        raise source.at_token("the expression is too long", tokens[MOST_TOKENS], "write it shorter")
    opened: list[Any] = []
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        _check_token(source, token, after, tokens[at + 2] if at + 2 < len(tokens) else None, extra)
        if token.token_type.name == "L_PAREN":
            opened.append(token)
        elif token.token_type.name == "R_PAREN" and not opened:
            raise source.at_token("this parenthesis was never opened", token, "leave it out")
        elif token.token_type.name == "R_PAREN":
            opened.pop()
        if len(opened) > DEEPEST:
            raise source.at_token("the expression is nested too deeply", token, "write it flatter")
    if opened:
        raise source.at_token("this parenthesis is not closed", opened[-1], "close it")
    return list(tokens)


def _check_token(source: _Source, token: Any, after: Any, third: Any, extra: frozenset[str]) -> None:
    kind, word = token.token_type.name, token.text.upper()
    follows = after.token_type.name if after else ""
    if kind == "MOD" and after and after.start == token.end + 1 and after.text == "s" and "s" not in source.lower:
        raise source.at_token("a parameter is not possible in a rule", token, "write the value itself", after)
    if kind in {"STRING", "NUMBER"} or (kind in _TOKENS | extra and follows != "DOT"):
        return
    if follows == "L_PAREN" and kind not in {"SELECT", "EXISTS"}:
        if word not in FUNCTIONS or kind == "IDENTIFIER":
            raise source.at_token(f"{token.text}() is not a function that a rule may call", token, _FIX_FUNCTION)
        return
    if follows == "DOT" and kind not in {"SEMICOLON", "DOT"}:
        raise source.at_token("a column qualified by a table", token, "name the column alone", third)
    if token.text.lower() in source.lower:
        return
    if kind in {"VAR", "IDENTIFIER"}:
        raise source.unknown(token.text, token)
    message, fix = _WHY.get(
        kind, (f"{token.text} is not possible in a rule", "one condition over the columns of issues")
    )
    if kind.startswith(("CURRENT_", "LOCAL", "UTC_")):
        message, fix = f"{token.text} is no function of the row", _FIX_FUNCTION
    raise source.at_token(message, token, fix)


_VARIABLE = ("a variable is no function of the row", "write the value itself")
_PARAMETER = ("a parameter is not possible in a rule", "write the value itself")
_SUBQUERY = ("a subquery is not possible in a rule", "one condition over the columns of issues")
_WHY = {
    "SEMICOLON": ("one expression is expected, not several statements", "leave out the ';'"),
    **dict.fromkeys(("SELECT", "EXISTS", "WITH", "FROM"), _SUBQUERY),
    **dict.fromkeys(("PARAMETER", "SESSION_PARAMETER"), _VARIABLE),
    **dict.fromkeys(("PLACEHOLDER", "COLON"), _PARAMETER),
    "DPIPE": ("|| means OR on one database and concatenation on another", "write OR, or CONCAT(a, b)"),
    "NULLS": ("NULLS FIRST and NULLS LAST are not possible", "NULL comes first ascending, last descending"),
}


def _parse(source: _Source, tokens: list[Any]) -> Any:
    """The tree, inside a Paren that is no part of it, so that every node has a parent to be replaced in."""
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import ParseError

    try:
        (tree,) = Dialect.get_or_raise("mysql").parser().parse_into(exp.Condition, tokens, _START + source.text)
    except ParseError as error:
        at = error.errors[0] if error.errors else {}
        near = [t for t in tokens if (t.line, t.col) == (at.get("line"), at.get("col"))] or [tokens[-1]]
        raise source.at_token("not understood here", near[0], f"one SQL expression, as in {DEFAULT_WHEN}") from None
    except RecursionError:
        raise
    except Exception as error:  # sqlglot's parser meets odd input with errors of many classes
        raise source.at_token(f"not understood ({error})", tokens[0], f"as in {DEFAULT_WHEN}", tokens[-1]) from None
    if tree is None:
        raise source.at_token("not understood here", tokens[0], f"one SQL expression, as in {DEFAULT_WHEN}")
    return exp.Paren(this=tree)


# -- what each part is: text, number, boolean, time, or NULL -----------------------------------------------------

_A = {"text": "text", "number": "a number", "boolean": "a condition", "time": "a time", "null": "NULL"}
_ARGUMENTS = {
    "Lower": ("text", "text"), "Upper": ("text", "text"), "Trim": ("text", "text"), "Length": ("text", "number"),
    "Abs": ("number", "number"), "Neg": ("number", "number"), "Replace": ("text", "text"), "Concat": ("text", "text"),
    "Left": ("text", "text"), "Right": ("text", "text"), "Substring": ("text", "text"),
    **{name: ("number", "number") for name in _ARITHMETIC}, "And": ("boolean", "boolean"), "Or": ("boolean", "boolean"),
    "Not": ("boolean", "boolean"),
}  # fmt: skip
_NUMBERS_FROM = {"Left": ("expression",), "Right": ("expression",), "Substring": ("start", "length")}


class _Checker:
    """Infers the kind of every node, and refuses what MySQL would convert in silence: the engines convert differently.

    Every node must be visited; one that no rule here knows is refused. Literals are normalised in place.
    """

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.seen: set[int] = set()

    def whole(self, holder: Any) -> str:
        kind = self.kind(holder.this)
        for node in holder.this.walk():
            if id(node) not in self.seen and type(node).__name__ not in {"Identifier", "JSONPath"}:
                if type(node).__name__.startswith("JSONPath"):
                    continue
                raise self.no(f"{node.sql('mysql')} is not possible here", node.parent or node)
        return kind

    def no(self, message: str, node: Any, fix: str = "one condition over the columns of issues") -> RuleError:
        return self.source.at_node(message, node, fix)

    def kind(self, node: Any) -> str:
        self.seen.add(id(node))
        name = type(node).__name__
        if name in _ARGUMENTS:
            return self.call(node, *_ARGUMENTS[name])
        if name in _COMPARE:
            return self.same([node.this, node.expression], plain=True)
        method = getattr(self, f"on_{name.lower()}", None)
        if method is None:
            raise self.no(f"{node.sql('mysql')[:80]} is not possible in a rule", node)
        return str(method(node))

    def call(self, node: Any, wanted: str, result: str) -> str:
        name = type(node).__name__
        numbers = _NUMBERS_FROM.get(name, ())
        least = {"start": 1, "length": 0, "expression": 1}
        if name == "Trim" and (node.args.get("position") or node.args.get("expression")):
            raise self.no("TRIM takes one argument in a rule", node, "TRIM(column), or REPLACE")
        given = {key: node.args.get(key) for key in node.arg_types}
        for key, value in given.items():
            for part in value if isinstance(value, list) else [value]:
                if part is None or isinstance(part, (bool, str)):
                    continue
                if key in numbers:
                    self.whole_number(part, least[key])
                    continue
                kind = self.kind(part)
                fits = kind == wanted or kind == "null" or (wanted == "number" and kind == "boolean")
                if not fits:
                    raise self.no(
                        f"{_A[kind]} where {_A[wanted]} is expected", part, "compare it, or use another column"
                    )
        if name == "Replace" and node.args.get("replacement") is None:
            raise self.no("REPLACE takes three arguments", node, "REPLACE(text, from, to)")
        return result

    def whole_number(self, node: Any, least: int) -> None:
        self.seen.add(id(node))
        if type(node).__name__ != "Literal" or node.is_string or not node.name.isdecimal() or int(node.name) < least:
            raise self.no(f"a whole number from {least} on is expected here", node, "as in LEFT(title, 3)")

    def same(self, nodes: Sequence[Any], plain: bool = False, result: str = "boolean") -> str:
        """All of one kind. ``plain``: no bare comparison among them, since databases bind chains of those differently."""
        for node in nodes if plain else ():
            if type(node).__name__ in _PREDICATE:
                raise self.no("a comparison of a comparison", node, "put it in parentheses")
        kinds = [self.kind(node) for node in nodes]
        found = {_LIKE[kind] for kind in kinds if kind != "null"}
        if "time" in found:
            found -= {"text" for n, k in zip(nodes, kinds, strict=True) if k == "text" and self.as_time(n)}
        if found == {"number", "text"}:
            texts = [n for n, k in zip(nodes, kinds, strict=True) if k == "text"]
            if all(self.as_number(node) for node in texts):
                found = {"number"}
        if len(found) > 1:
            odd = next(n for n, k in zip(nodes, kinds, strict=True) if k != "null" and _LIKE[k] != _LIKE.get(kinds[0]))
            raise self.no(" and ".join(_A[k] for k in sorted(found)) + " do not compare", odd, "use values of one kind")
        if result == "boolean":
            return result
        given = {kind for kind in kinds if kind != "null"}
        return "null" if not given else given.pop() if len(given) == 1 else found.pop()

    def as_time(self, node: Any) -> bool:
        """'2026-01-01' is midnight to MySQL, and just text to SQLite: written out, both agree."""
        if type(node).__name__ != "Literal" or not _TIME.fullmatch(node.name) or re.search(r"Z|:\d\d[+-]", node.name):
            raise self.no("not a time", node, "as in '2026-01-31' or '2026-01-31 12:00:00' (UTC)")
        try:
            node.set("this", str(datetime.fromisoformat(node.name)))
        except ValueError:
            raise self.no("not a time", node, "as in '2026-01-31' or '2026-01-31 12:00:00' (UTC)") from None
        return True

    def as_number(self, node: Any) -> bool:
        if type(node).__name__ != "Literal" or not re.fullmatch(r"\d{1,18}(\.\d{1,9})?", node.name, re.ASCII):
            return False
        node.set("is_string", False)
        return True

    def on_paren(self, node: Any) -> str:
        return self.kind(node.this)

    def on_null(self, node: Any) -> str:
        return "null"

    def on_boolean(self, node: Any) -> str:
        return "boolean"

    def on_literal(self, node: Any) -> str:
        if not node.is_string and not re.fullmatch(
            r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", node.name, re.ASCII | re.IGNORECASE
        ):
            raise self.no(f"{node.name} is not a number", node)
        return "text" if node.is_string else "number"

    def on_column(self, node: Any) -> str:
        name = self.source.lower.get(node.name.lower())
        if name is None or len(node.parts) != 1:
            raise self.no(f"issues has no column {node.name}", node)
        node.this.set("this", name)
        kind = self.source.columns[name].lower().strip()
        if name in _TIMES or kind.startswith(("datetime", "timestamp", "date")):
            return "time"
        if kind.startswith(("bool", "tinyint", "bit(1)")) or kind in {"integer(1)", "int(1)"}:
            return "boolean"
        numeric = ("int", "bigint", "smallint", "mediumint", "decimal", "numeric", "float", "double", "real", "bit")
        return "number" if kind.startswith(numeric) else "text"

    def on_is(self, node: Any) -> str:
        right = type(node.expression).__name__
        if right == "Boolean":
            return self.same([node.this, node.expression])
        if right != "Null":
            raise self.no("IS takes NULL, TRUE or FALSE", node.expression, "use = or <=>")
        self.kind(node.this)
        return self.kind(node.expression).replace("null", "boolean")

    def on_in(self, node: Any) -> str:
        if not node.expressions:
            raise self.no("IN takes a list of values", node, "as in status IN ('open', 'blocked')")
        return self.same([node.this, *node.expressions], plain=True)

    def on_between(self, node: Any) -> str:
        if node.args.get("symmetric") is not None:
            raise self.no("SYMMETRIC is not possible in a rule", node)
        return self.same([node.this, node.args["low"], node.args["high"]], plain=True)

    def on_case(self, node: Any) -> str:
        whens, results = [], [node.args["default"]] if node.args.get("default") is not None else []
        for branch in node.args["ifs"]:
            self.seen.add(id(branch))
            whens.append(branch.this)
            results.append(branch.args["true"])
        if node.this is not None:
            self.same([node.this, *whens], plain=True)
        else:
            self.conditions(whens)
        return self.same(results, result="any")

    def conditions(self, nodes: Sequence[Any]) -> None:
        for node in nodes:
            kind = self.kind(node)
            if kind not in {"boolean", "null"}:
                raise self.no(f"{_A[kind]} where a condition is expected", node, "compare it, as in priority < 2")

    def on_if(self, node: Any) -> str:
        if node.args.get("false") is None:
            raise self.no("IF takes three arguments", node, "IF(condition, then, else)")
        self.conditions([node.this])
        return self.same([node.args["true"], node.args["false"]], result="any")

    def on_coalesce(self, node: Any) -> str:
        return self.same([node.this, *node.expressions], result="any")

    def on_nullif(self, node: Any) -> str:
        return self.same([node.this, node.expression], result="any")

    def pattern(self, node: Any) -> str:
        """The literal pattern of LIKE or REGEXP."""
        if type(node.this).__name__ in _PREDICATE:
            raise self.no("a comparison of a comparison", node.this, "put it in parentheses")
        kind = self.kind(node.this)
        if kind not in {"text", "null"}:
            raise self.no(f"{_A[kind]} where text is expected", node.this, "use = or <")
        pattern = node.expression
        if type(pattern).__name__ != "Literal" or not pattern.is_string:
            raise self.no("the pattern must be text in quotes", pattern, "as in title LIKE 'Fix%'")
        self.seen.add(id(pattern))
        return str(pattern.name)

    def on_like(self, node: Any, escape: str = "\\") -> str:
        """Written with an escape character of our own where one is needed: MySQL's is a backslash by default, SQLite has none."""
        from sqlglot import exp

        parts = re.findall("(?:" + re.escape(escape) + ")?." if escape else ".", self.pattern(node), re.DOTALL)
        pieces = [(p[-1], len(p) == 2 or (p == escape)) for p in parts]
        plain = "".join(char for char, _ in pieces)
        mark = next((c for c in "!~^$#@=+:;,<>?&*" if c not in plain), None)
        needed = any(taken and char in "%_" for char, taken in pieces)
        if mark is None or not (needed or "\\" in plain):
            if mark is None:
                raise self.no("this pattern has no room for an escape character", node.expression, "use a shorter one")
            node.expression.set("this", plain)
            if escape != "\\":
                self.unwrap(node)
            return "boolean"
        node.expression.set("this", "".join(mark + char if taken and char in "%_" else char for char, taken in pieces))
        letter = exp.Literal.string(mark)
        if type(node.parent).__name__ == "Escape":
            node.parent.set("expression", letter)
        else:
            holder = exp.Escape(expression=letter)
            node.replace(holder)
            holder.set("this", node)
            self.seen.add(id(holder))
        self.seen.add(id(letter))
        return "boolean"

    def unwrap(self, like: Any) -> None:
        like.parent.replace(like)

    def on_escape(self, node: Any) -> str:
        letter, like = node.expression, node.this
        if type(like).__name__ != "Like" or type(letter).__name__ != "Literal" or len(letter.name) > 1:
            raise self.no("ESCAPE takes one character in quotes", letter, "as in LIKE '50!%' ESCAPE '!'")
        self.seen |= {id(like), id(letter)}
        return self.on_like(like, letter.name)

    def on_regexplike(self, node: Any) -> str:
        pattern = self.pattern(node)
        try:
            re.compile(pattern)  # Dolt's syntax and Python's agree on what is common; what neither reads is told now
        except (re.error, OverflowError, RecursionError) as error:
            raise self.no(f"not a regular expression: {error}", node.expression, "as in title REGEXP '^fix'") from None
        return "boolean"

    def on_jsonextractscalar(self, node: Any) -> str:
        kind = self.kind(node.this)
        path = node.expression.sql("mysql").strip("'")
        if type(node.this).__name__ != "Column" or kind != "text" or not _PATH.fullmatch(path):
            raise self.no("->> takes a JSON column and a simple path", node.this, "as in metadata->>'$.team' = 'core'")
        self.seen |= {id(part) for part in node.expression.walk()}
        return "text"

    def on_jsonextract(self, node: Any) -> str:
        raise self.no("a JSON value compares differently on each engine", node.this, "take its text: column->>'$.path'")

    def on_anonymous(self, node: Any) -> str:
        from sqlglot import exp

        inner = node.expressions[0] if len(node.expressions) == 1 else None
        if node.name.upper() != "JSON_UNQUOTE" or type(inner).__name__ != "JSONExtract" or inner.expressions:
            raise self.no(f"{node.name}() is not possible like this", node, "column->>'$.path'")
        text = exp.JSONExtractScalar(this=inner.this, expression=inner.expression)
        node.replace(text)
        return self.kind(text)


# -- from the tree to text --------------------------------------------------------------------------------------


def _names(tree: Any) -> set[str]:
    from sqlglot import exp

    return {str(column.name) for column in tree.find_all(exp.Column)}


def _both(left: Any, right: Any) -> Any:
    from sqlglot import exp

    sides = [exp.Paren(this=side.copy()) if isinstance(side, exp.Or) else side.copy() for side in (left, right)]
    return exp.And(this=sides[0], expression=sides[1])


def _conjuncts(tree: Any) -> Iterator[Any]:
    from sqlglot import exp

    tree = tree.unnest()
    if isinstance(tree, exp.And):
        yield from _conjuncts(tree.this)
        yield from _conjuncts(tree.expression)
    else:
        yield tree


def _derived(when: Any, rule: Rule, columns: Mapping[str, str]) -> Any:
    """What ``running`` is where the rule does not say: its conditions on the assignee alone; else ``when`` as if the bead were open."""
    from sqlglot import exp

    if "status" not in columns:
        raise RuleError("issues has no column status", where=f"rules.{rule.name}.running", fix="set running")
    with _bounded(f"rules.{rule.name}.when"):
        mine = [part for part in _conjuncts(when) if _names(part) == {"assignee"}]
        base = _replaced(when, lambda name: exp.Literal.string(OPEN) if name == "status" else None)
        if mine:
            base = mine[0]
            for part in mine[1:]:
                base = _both(base, part)
        return _both(base, exp.EQ(this=exp.column("status"), expression=exp.Literal.string(IN_PROGRESS)))


def _replaced(tree: Any, new: Any) -> Any:
    """A copy in which each column for whose name ``new`` gives a node is that node."""
    from sqlglot import exp

    return tree.transform(lambda node: (new(node.name) or node) if isinstance(node, exp.Column) else node)


def _text(tree: Any, dialect: str, prefix: str = "") -> str:
    from sqlglot import ErrorLevel, exp

    named = _replaced(tree, lambda name: exp.column(prefix + name, quoted=not _plain(prefix + name)))
    if dialect == "sqlite":
        named = named.transform(_sqlite)
    return str(named.sql(dialect=dialect, comments=False, unsupported_level=ErrorLevel.RAISE))


def _plain(name: str) -> bool:
    """Needs no quotes. Where it can, SQLite's text goes without: a double-quoted column that is gone is a string to SQLite, in silence."""
    from sqlglot.dialects.dialect import Dialect

    tokens = Dialect.get_or_raise("mysql").tokenize(f"{_START}{name}")[1:]
    return bool(re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)) and [t.token_type.name for t in tokens] == ["VAR"]


def _sqlite(node: Any) -> Any:
    """What sqlglot's translation leaves different from MySQL. The text also survives being read as MySQL's once more."""
    from sqlglot import exp

    if isinstance(node, exp.Length) and node.args.get("binary"):  # MySQL counts bytes
        return exp.Length(this=exp.cast(node.this, "BLOB"))
    if isinstance(node, exp.Left):
        return exp.Anonymous(this="SUBSTR", expressions=[node.this, exp.Literal.number(1), node.expression])
    if isinstance(node, exp.Right):
        return exp.Anonymous(this="SUBSTR", expressions=[node.this, exp.Neg(this=node.expression)])
    if isinstance(node, exp.Literal) and node.is_string and "\\" in node.name:
        return exp.cast(exp.HexString(this=node.name.encode().hex()), "TEXT")
    if isinstance(node, exp.Concat):  # printf has no NULL: MySQL's CONCAT with one is NULL
        null = exp.or_(*(exp.Is(this=exp.paren(part), expression=exp.Null()) for part in node.expressions))
        called = [exp.Literal.string("%s" * len(node.expressions)), *node.expressions]
        return exp.If(this=null, true=exp.Null(), false=exp.Anonymous(this="PRINTF", expressions=called))
    if isinstance(node, exp.JSONExtractScalar):  # SQLite's ->> gives numbers, and 1 for true
        path = exp.Literal.string(node.expression.sql("mysql").strip("'"))
        kind = exp.Anonymous(this="JSON_TYPE", expressions=[node.this, path])
        case = exp.Case(this=kind, default=exp.cast(node, "TEXT"))
        for word in ("true", "false", "null"):
            case.append("ifs", exp.If(this=exp.Literal.string(word), true=exp.Literal.string(word)))
        return exp.paren(case)
    return node


def _put_back(tree: Any, dialect: str, cells: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Found by token in the generated text, since its order, not the tree's, is the order of the parameters."""
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect

    mark = "watch_cell_"
    text = _text(_replaced(tree, lambda name: exp.column(mark + name) if name in cells else None), dialect)
    order: list[str] = []
    parts: list[str] = []
    done = 0
    for token in Dialect.get_or_raise(dialect).tokenize(_START + text)[1:]:
        if token.token_type.name == "VAR" and token.text.startswith(mark):
            order.append(token.text.removeprefix(mark))
            parts += [text[done : token.start - _PAD], "?"]
            done = token.end - _PAD + 1
    return "".join(parts) + text[done:], tuple(order)


def compile_for(rule: Rule, columns: Mapping[str, str], dialect: str) -> CompiledRule:
    """As ``compile_rule``, but what is asked of the row itself stays in MySQL's dialect: it goes through ``Engine.query``, which
    transpiles whole statements; only what goes into ``Engine.diff`` is in the engine's own."""
    compiled = compile_rule(rule, columns, dialect)
    if dialect == "mysql":
        return compiled
    row = compile_rule(rule, columns, "mysql")
    return replace(
        compiled, when_row=row.when_row, running_row=row.running_row, rank_row=row.rank_row,
        when_put_back=row.when_put_back, put_back=row.put_back,
    )  # fmt: skip
