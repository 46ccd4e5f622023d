"""The metadata tree: stdatamodels' nodes with short names, and errors that name the place."""

import contextlib
from collections.abc import Iterator
from typing import Any

from asdf.exceptions import ValidationError
from stdatamodels.properties import ObjectNode

from tmt_dq.errors import MaskFormatError, RampFormatError, TmtDqError

ALIASES = ("name", "detector")
"""Short forms below ``meta``: ``meta.name`` is ``meta.instrument.name``, and so on.

The original documentation writes them, but the rules look at the long forms and only those have
FITS keywords. The short form has no storage of its own, so that the two cannot disagree.
"""


@contextlib.contextmanager
def format_errors(kind: type[TmtDqError], where: object) -> Iterator[None]:
    """Turn errors about the format of a file or a value into one of the model's own class."""
    try:
        yield
    except TmtDqError as error:
        if type(error) not in {RampFormatError, MaskFormatError} or isinstance(error, kind):
            raise
        raise kind(error.what, where=error.where, hint=error.hint) from error
    except (ValidationError, ValueError) as error:
        raise kind(_reason(error), where=where) from error


def _reason(error: BaseException) -> str:
    """Return the sentence of a validation error that names the fault, without the schema."""
    if isinstance(error, ValidationError) and isinstance(error.__cause__, ValidationError):
        error = error.__cause__
    if not isinstance(error, ValidationError):
        return str(error)
    path = ".".join(str(part) for part in error.path)
    return f"{path}: {error.message}" if path else str(error.message)


class Node(ObjectNode):
    """A node of the tree: short names below ``meta``, and errors that name the place."""

    def __getattr__(self, attr: str) -> Any:
        if self._name == "meta" and attr in ALIASES:
            return getattr(self.instrument, attr)
        return as_node(super().__getattr__(attr))

    def __setattr__(self, attr: str, value: Any) -> None:
        if attr.startswith("_"):
            super().__setattr__(attr, value)
        elif self._name == "meta" and attr in ALIASES:
            setattr(self.instrument, attr, value)
        else:
            with format_errors(self._ctx.format_error, f"{self._path()}.{attr}"):
                super().__setattr__(attr, value)

    def _path(self) -> str:
        parent = self._parent
        return f"{parent._path()}.{self._name}" if isinstance(parent, Node) else self._name  # noqa: SLF001 - a node like this one


def as_node(value: Any) -> Any:
    """Return a plain object node as one of ours, anything else as it is."""
    if type(value) is not ObjectNode:
        return value
    return Node(value._name, value._instance, value._schema, value._ctx, value._parent)  # noqa: SLF001 - as stdatamodels makes them


def resolve_aliases(meta: dict[str, Any], kind: type[TmtDqError], where: object) -> None:
    """Move, in place, values under the short names to the long ones; two that differ are an error.

    Trees of dicts and files may hold them.
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
