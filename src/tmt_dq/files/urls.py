"""Names with ``://``: told from paths, taken apart, and shown without what is secret in them."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urljoin

from tmt_dq.errors import ConfigError

__all__ = [
    "WEB",
    "file_name",
    "folder_of",
    "is_url",
    "joined",
    "local_path",
    "protocol_of",
    "redacted",
]

WEB = {"http", "https"}
_LOST_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/[^/]")
# A password may hold an @, and by mistake also a slash: then what looks like a port is no number.
_BROKEN_USER = r"(?<=://)(?!arn:)[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^@]*[/?#].*@"
_USER = re.compile(rf"(?<=://)[^/?#]*@|{_BROKEN_USER}", re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)
_CHAIN = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*(?:://|::))")
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Where # is a letter of a name."""
_NOT_IN_NAMES = re.compile(r"[/\x00-\x1f\x7f]|^\.\.?$")


def is_url(name: object) -> bool:
    """Tell whether a name is the URL of something that is not a file of this system."""
    return isinstance(name, str) and "://" in name and not name.lower().startswith("file://")


def redacted(text: str) -> str:
    """Return a URL without user, password, query and fragment; other text as it is.

    Those of a presigned URL are keys to the file.
    """
    if "://" not in text:
        return text
    parts = [_USER.sub("", part) for part in _CHAIN.split(text)]
    return "::".join(_without_query(part, "?...") if "://" in part else part for part in parts)


def protocol_of(url: str) -> str:
    """Return what is before ``://``; of a chain (``a::b://``) the first; of paths nothing."""
    return re.split(r"::|://", url, maxsplit=1)[0].lower() if "://" in url else ""


def file_name(url: str) -> str:
    """Return the last part of the path of a URL as people read it: in the web, ``%20`` is a blank.

    A server has no say in which folder a file of that name is written: ``%2F`` stays as it is.
    """
    path = _path_of(url)
    named = (part for part in _CHAIN.split(path) if "://" in part)
    name = next(named, path).rstrip("/").rpartition("/")[2]
    plain = unquote(name) if protocol_of(url) in WEB else name
    return name if _NOT_IN_NAMES.search(plain) else plain


def folder_of(url: str) -> str:
    """Return the URL of the folder, without query and fragment."""
    return _path_of(url).rstrip("/").rpartition("/")[0]


def joined(folder: str, name: str) -> str:
    """Return a name in a folder that has a URL; one that is a URL itself as it is."""
    if is_url(name):
        return name
    folder = _path_of(folder).rstrip("/")
    return urljoin(f"{folder}/", name) if protocol_of(folder) in WEB else f"{folder}/{name}"


def _path_of(url: str) -> str:
    return "::".join(_without_query(part, "") for part in _CHAIN.split(url))


def _without_query(part: str, mark: str) -> str:
    """Return a part of a chain of URLs with `mark` for query and fragment."""
    scheme, sign, rest = part.partition("://")
    secret = _QUERY if scheme.lower() in _OBJECTS else _QUERY_OR_FRAGMENT
    return scheme + sign + secret.sub(mark, rest)


def local_path(name: os.PathLike[str] | str) -> Path | None:
    """Return the path that a name is, or that a ``file://`` URL names; None for other URLs."""
    text = os.fspath(name)
    if "\0" in text:
        what = "has a NUL character in its name, which no file can have"
        raise ConfigError(what, where=text, hint="Check where the name comes from.")
    if "://" not in text:
        path = Path(text)
        if isinstance(name, Path) and _LOST_SLASH.match(text) and not path.exists():
            raise ConfigError(
                "looks like a URL that was made a pathlib.Path, which takes one of its slashes",
                where=redacted(text.replace(":/", "://", 1)),
                hint="Give the URL as text.",
            )
        return path
    if not is_url(text):
        host, slash, path_text = text[len("file://") :].partition("/")
        if host.lower() not in {"", "localhost"} or not slash:
            what = f"{text} is no file of this machine; expected file:///folder/name"
            raise ConfigError(what, hint="Give the path itself.")
        return Path(unquote(slash + path_text))
    if re.search(_BROKEN_USER, text, re.DOTALL):
        raise ConfigError(
            "has a / ? or # in the user or password",
            where=redacted(text),
            hint="Write them as %2F, %3F and %23; better, keep them out of URLs.",
        )
    return None
