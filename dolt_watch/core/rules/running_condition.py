"""The default of a rule's ``running``, derived from its ``when``."""

from __future__ import annotations

from typing import Any

from sqlglot import exp


def columns_of(tree: exp.Expr) -> set[str]:
    return {column.name for column in tree.find_all(exp.Column)}


def derive_running(when: exp.Expr, in_progress: str, is_open: str) -> exp.Expr:
    """Return the default of ``running``.

    It consists of the conditions on the assignee, and the status in progress. If there is no such
    condition, it is the whole of ``when`` as if the bead were open.
    """
    kept = [part.copy() for part in conjuncts(when) if columns_of(part) == {"assignee"}]
    status = exp.EQ(this=exp.column("status"), expression=exp.Literal.string(in_progress))
    if not kept:

        def opened(node: Any) -> Any:
            return (
                exp.Literal.string(is_open)
                if isinstance(node, exp.Column) and node.name == "status"
                else node
            )

        kept = [when.copy().transform(opened)]
    whole = exp.paren(kept[0], copy=False)
    for part in (*(exp.paren(one, copy=False) for one in kept[1:]), status):
        whole = exp.And(this=whole, expression=part)  # type: ignore[assignment]
    return whole


def conjuncts(tree: Any) -> list[Any]:
    """Return the conditions that AND joins, in order."""
    parts, left = [], [tree]
    while left:
        node = left.pop()
        if isinstance(node, exp.Paren):
            left.append(node.this)
        elif isinstance(node, exp.And):
            left += [node.expression, node.this]
        else:
            parts.append(node)
    return parts
