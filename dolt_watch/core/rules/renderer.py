"""SQL text of a checked expression for one engine.

Names are always in backticks, which both dialects accept. SQLite reads a double-quoted name that
does not exist as a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlglot import exp

from dolt_watch.core.rules.sqlite_functions import replace_from_leaves, rewrite_function

_MARK = re.compile("\0([^\0]*)\0")
"""A column that becomes a ``?``.

``Expression`` refuses NUL, so no text of a user can contain this mark.
"""


def render(tree: exp.Expr, dialect: str, prefix: str) -> str:
    """Return the SQL. ``prefix`` precedes each column's name: 'from_', 'to_' or ''."""
    return _render(tree, dialect, lambda column: _quoted(prefix + column))


def render_with_placeholders(
    tree: exp.Expr, dialect: str, columns: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the SQL with a ``?`` for each use of ``columns``, and these columns in order of
    appearance.
    """
    marked = _render(
        tree, dialect, lambda column: f"\0{column}\0" if column in columns else _quoted(column)
    )
    return _MARK.sub("?", marked), tuple(_MARK.findall(marked))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _render(tree: exp.Expr, dialect: str, name: Callable[[str], str]) -> str:
    def mend(node: Any) -> Any:
        if isinstance(node, exp.Column):
            return exp.var(name(node.name))
        return _for_sqlite(node) if dialect == "sqlite" else node

    text: str = replace_from_leaves(tree.copy(), mend).sql(dialect=dialect, comments=False)
    return text


def _for_sqlite(node: Any) -> Any:
    """Return a node with the differences that sqlglot does not translate.

    New nodes consist of copies, because the old node is still in its tree.
    """
    if isinstance(node, exp.Like) and not isinstance(node.parent, exp.Escape):
        return exp.Escape(
            this=node.copy(), expression=exp.Literal.string("\\")
        )  # The default in MySQL. SQLite has none.
    if isinstance(node, exp.Escape) and not node.expression.name:
        return node.this.copy()  # ESCAPE '' means none in MySQL, and that is SQLite's default.
    if isinstance(node, exp.Coalesce) and not node.expressions:
        return exp.paren(node.this.copy())  # SQLite requires two arguments.
    if isinstance(node, exp.Concat):  # || has the highest precedence in SQLite.
        first, *rest = (exp.paren(part.copy(), copy=False) for part in node.expressions)
        whole: Any = first
        for part in rest:
            whole = exp.DPipe(this=whole, expression=part, safe=True)
        return exp.paren(whole, copy=False)
    return rewrite_function(node)
