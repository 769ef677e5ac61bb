"""Functions that MySQL and SQLite spell differently, and that sqlglot does not translate.

The rules' renderer and the transpiler of statements both use this table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp


def replace_from_leaves(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return the tree with each node replaced by ``change`` of it. The tree itself is changed.

    Leaves come first, because sqlglot's own ``transform`` does not enter a replaced node.
    """
    for node in reversed(list(tree.bfs())):
        new = change(node)
        if new is not node:
            if node is tree:
                tree = new
            else:
                node.replace(new)
    return tree


def rewrite_function(node: Any) -> Any:
    """Return the node as SQLite needs it: a new node made of copies, or the node itself."""
    rewrite = _REWRITES.get(type(node))
    return rewrite(node) if rewrite is not None else node


def _length(node: Any) -> Any:
    """Return LENGTH or CHAR_LENGTH.

    MySQL's LENGTH counts bytes, SQLite's counts bytes of a BLOB and characters of text.
    """
    text = node.this.copy()
    return exp.func("LENGTH", exp.cast(text, "BLOB") if node.args.get("binary") else text)


def _left(node: Any) -> Any:
    return exp.func("SUBSTR", node.this.copy(), exp.Literal.number(1), node.expression.copy())


def _right(node: Any) -> Any:
    """Return RIGHT.

    The length is repeated as the third argument, because -0 alone would return the whole text.

    A parameter can't be repeated, so the length must not be one.
    """
    count = node.expression.copy()
    return exp.func("SUBSTR", node.this.copy(), exp.Neg(this=exp.paren(count)), count.copy())


_REWRITES: dict[type, Callable[[Any], Any]] = {
    exp.Length: _length,
    exp.Left: _left,
    exp.Right: _right,
}
