"""Names with ``://``: files elsewhere, and how they are shown without what is secret in them.

Nothing here reaches for a network or for fsspec.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tmt_dq.errors import ConfigError

__all__ = ["Place", "Url", "is_url", "place_of", "redacted"]

_LOST_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/[^/]")
# A password may hold an @, and by mistake also a slash: then what looks like a port is no number.
_BROKEN_USER = r"(?<=://)(?!arn:)[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^@]*[/?#].*@"
_USER = re.compile(rf"(?<=://)[^/?#]*@|{_BROKEN_USER}", re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)
_CHAIN = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*(?:://|::))")
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Where # is a letter of a name."""
_WEB = {"http", "https"}
_NOT_IN_NAMES = re.compile(r"[/\x00-\x1f\x7f]|^\.\.?$")


class Url:
    """A file elsewhere, as fsspec names it.

    Shown as text it has no user, password, query or fragment: those of a presigned URL are keys to
    the file. `full` is for who opens it. No dataclass: what turns those into dictionaries, for JSON
    say, would have it.

    Parameters
    ----------
    full : str
        The URL.
    options : mapping
        Arguments for fsspec, as astropy's ``fsspec_kwargs``.
    """

    __slots__ = ("full", "options")

    def __init__(self, full: str, options: Mapping[str, Any] | None = None) -> None:
        self.full = full
        self.options = {} if options is None else options

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self.full == other.full

    def __hash__(self) -> int:
        return hash(self.full)

    @property
    def protocol(self) -> str:
        """What is before ``://``; of a chain (``a::b://``) the first."""
        return re.split(r"::|://", self.full, maxsplit=1)[0].lower()

    @property
    def name(self) -> str:
        """The last part of the path."""
        named = (part for part in _CHAIN.split(self._path) if "://" in part)
        path = next(named, self._path)
        return _as_read(self.protocol, path.rstrip("/").rpartition("/")[2])

    @property
    def suffix(self) -> str:
        """What the name ends with, from its last dot on."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "Url":
        """The folder, without what came behind the path."""
        return Url(self._path.rstrip("/").rpartition("/")[0], self.options)

    @property
    def _path(self) -> str:
        return "::".join(_without_query(part, "") for part in _CHAIN.split(self.full))

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self._path.rstrip('/')}/{name}", self.options)

    def __str__(self) -> str:
        return redacted(self.full)

    def __repr__(self) -> str:
        return f"Url({redacted(self.full)!r})"


Place = Path | Url
"""A file here or elsewhere."""


def _as_read(protocol: str, name: str) -> str:
    """Return a name as people read it: in the web, ``%20`` is a blank.

    A server has no say in which folder a file of that name is written: ``%2F`` stays as it is.
    """
    plain = unquote(name) if protocol in _WEB else name
    return name if _NOT_IN_NAMES.search(plain) else plain


def _without_query(part: str, mark: str) -> str:
    """Return a part of a chain of URLs with `mark` for query and fragment."""
    scheme, sign, rest = part.partition("://")
    secret = _QUERY if scheme.lower() in _OBJECTS else _QUERY_OR_FRAGMENT
    return scheme + sign + secret.sub(mark, rest)


def is_url(name: object) -> bool:
    """Tell whether a name is a URL of something that is not a file of this system."""
    if isinstance(name, Url):
        return True
    return isinstance(name, str) and "://" in name and not name.lower().startswith("file://")


def redacted(text: str) -> str:
    """Return a URL without user, password, query and fragment; other text as it is."""
    if "://" not in text:
        return text
    parts = [_USER.sub("", part) for part in _CHAIN.split(text)]
    return "::".join(_without_query(part, "?...") if "://" in part else part for part in parts)


def place_of(name: object, options: Mapping[str, Any] | None = None) -> Place:
    """Return what a name stands for.

    Parameters
    ----------
    name : str, path or Url
        A name with ``://`` is a URL; ``file://`` is a file of this system.
    options : mapping, optional
        Arguments for fsspec.

    Returns
    -------
    Path or Url
        The file.

    Raises
    ------
    ConfigError
        Raised if it is a URL that lost a slash on its way through `pathlib.Path`, one whose
        password would be taken for a path, or a ``file://`` of another machine.
    """
    if isinstance(name, Url):
        return name
    # A path object of universal_pathlib says a URL, and what fsspec is to be told of it.
    said = getattr(name, "storage_options", None)
    text = str(os.fspath(name) if isinstance(name, os.PathLike) else name)
    if "://" not in text:
        path = Path(text)
        if isinstance(name, Path) and _LOST_SLASH.match(text) and not path.exists():
            raise ConfigError(
                "looks like a URL that was made a pathlib.Path, which takes one of its slashes",
                where=redacted(text.replace(":/", "://", 1)),
                hint="Give the URL as text.",
            )
        return path
    if text.lower().startswith("file://"):
        return _local(text)
    if re.search(_BROKEN_USER, text, re.DOTALL):
        raise ConfigError(
            "has a / ? or # in the user or password",
            where=redacted(text),
            hint="Write them as %2F, %3F and %23; better, keep them out of URLs.",
        )
    return Url(text, dict(options or said or {}))


def _local(text: str) -> Path:
    host, slash, path = text[len("file://") :].partition("/")
    if host.lower() not in {"", "localhost"} or not slash:
        raise ConfigError(
            f"{text} is no file of this machine; expected file:///folder/name",
            hint="Give the path itself.",
        )
    return Path(unquote(slash + path))
