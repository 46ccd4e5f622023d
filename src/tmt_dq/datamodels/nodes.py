"""The metadata tree: stdatamodels' nodes with short names, and errors that name the place."""

import contextlib
from collections.abc import Iterator
from typing import Any

from asdf.exceptions import ValidationError
from stdatamodels.properties import ObjectNode

from tmt_dq.errors import TmtDqError

__all__ = ["ALIASES", "MetaNode", "TreeNode", "reason", "resolve_aliases", "schema_errors", "wrap"]

ALIASES = ("name", "detector")
"""Short forms below ``meta``: ``meta.name`` is ``meta.instrument.name``, and so on.

The original documentation writes them, but the rules look at the long forms and only those have
FITS keywords. The short form has no storage of its own, so that the two cannot disagree.
"""


@contextlib.contextmanager
def schema_errors(kind: type[TmtDqError], where: object) -> Iterator[None]:
    """Turn errors of stdatamodels and asdf about a value that does not fit into one of `kind`."""
    try:
        yield
    except TmtDqError:
        raise
    except (ValidationError, ValueError) as error:
        raise kind(reason(error), where=where) from error


def reason(error: BaseException) -> str:
    """Return the sentence of a validation error that names the fault, without the schema."""
    inner = error.__cause__
    if isinstance(error, ValidationError) and isinstance(inner, ValidationError):
        error = inner
    if not isinstance(error, ValidationError):
        return str(error)
    path = ".".join(str(part) for part in error.path)
    return f"{path}: {error.message}" if path else str(error.message)


class TreeNode(ObjectNode):
    """A node of the tree whose assignments fail with an error that names the place."""

    def __getattr__(self, attr: str) -> Any:
        return wrap(super().__getattr__(attr), TreeNode)

    def __setattr__(self, attr: str, value: Any) -> None:
        if attr.startswith("_"):
            super().__setattr__(attr, value)
            return
        with schema_errors(self._ctx.format_error, f"{self._path()}.{attr}"):
            super().__setattr__(attr, value)

    def _path(self) -> str:
        names = []
        node: Any = self
        while node is not None and isinstance(getattr(node, "_name", None), str):
            names.append(node._name)  # noqa: SLF001 - a node like this one
            node = node._parent  # noqa: SLF001
        return ".".join(reversed(names))


class MetaNode(TreeNode):
    """The node ``meta``, with its short names."""

    def __getattr__(self, attr: str) -> Any:
        if attr in ALIASES:
            return getattr(self.instrument, attr)
        return super().__getattr__(attr)

    def __setattr__(self, attr: str, value: Any) -> None:
        if attr in ALIASES:
            setattr(self.instrument, attr, value)
        else:
            super().__setattr__(attr, value)

    def __delattr__(self, attr: str) -> None:
        if attr in ALIASES:
            delattr(self.instrument, attr)
        else:
            super().__delattr__(attr)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *ALIASES})

    def hasattr(self, attr: str) -> bool:
        """Whether the tree has a value for `attr`."""
        if attr in ALIASES:
            return bool(self.instrument.hasattr(attr))
        return bool(super().hasattr(attr))


def wrap(value: Any, kind: type[TreeNode]) -> Any:
    """Return a plain object node as one of ours, anything else as it is."""
    if type(value) is not ObjectNode:
        return value
    return kind(value._name, value._instance, value._schema, value._ctx, value._parent)  # noqa: SLF001


def resolve_aliases(meta: dict[str, Any], kind: type[TmtDqError], where: object) -> None:
    """Move values that a tree of a dict or file holds under the short names to the long ones.

    `meta` is modified; where both names have values that differ, that is an error of `kind`.
    """
    for alias in ALIASES:
        short = meta.pop(alias, None)
        if short is None:
            continue
        instrument = meta.setdefault("instrument", {})
        long = instrument.get(alias)
        if long is not None and long != short:
            raise kind(
                f"meta.{alias} is {short!r}, but meta.instrument.{alias} is {long!r}; both name "
                "the same thing",
                where=where,
                hint=f"Set only meta.instrument.{alias}.",
            )
        instrument[alias] = short
