"""Names with ``://``: told from paths, taken apart, and shown without what is secret in them."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urljoin

from tmt_dq.errors import ConfigError

WEB = {"http", "https"}
# A password may hold an @, and by mistake also a slash: then what looks like a port is no number.
_USER = re.compile(
    r"(?<=://)(?:[^/?#]*@|(?!arn:)[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^@]*[/?#].*@)", re.DOTALL
)
_NOT_IN_NAMES = re.compile(r"[/\x00-\x1f\x7f]|^\.\.?$")


def is_url(name: object) -> bool:
    """Tell whether a name is the URL of something that is not a file of this system."""
    return isinstance(name, str) and "://" in name and not name.lower().startswith("file://")


def redacted(text: str) -> str:
    """Return a URL without user, password, query and fragment; other text as it is.

    Those of a presigned URL are keys to the file.
    """
    return _without_query(_USER.sub("", text), "?...") if "://" in text else text


def protocol_of(url: str) -> str:
    """Return what is before ``://``, of paths nothing."""
    return url.partition("://")[0].lower() if "://" in url else ""


def file_name(url: str) -> str:
    """Return the last part of the path of a URL as people read it: in the web, ``%20`` is a blank.

    A server has no say in which folder a file of that name is written: ``%2F`` stays as it is.
    """
    name = _without_query(url, "").rstrip("/").rpartition("/")[2]
    plain = unquote(name) if protocol_of(url) in WEB else name
    return name if _NOT_IN_NAMES.search(plain) else plain


def folder_of(url: str) -> str:
    """Return the URL of the folder, without query and fragment."""
    return _without_query(url, "").rstrip("/").rpartition("/")[0]


def joined(folder: str, name: str) -> str:
    """Return a name in a folder that has a URL; one that is a URL itself as it is."""
    if is_url(name):
        return name
    folder = _without_query(folder, "").rstrip("/")
    return urljoin(f"{folder}/", name) if protocol_of(folder) in WEB else f"{folder}/{name}"


def _without_query(url: str, mark: str) -> str:
    """Return a URL with `mark` for its query; in stores, # is a letter of a name."""
    scheme, sign, rest = url.partition("://")
    secret = re.search(r"[?#]" if scheme.lower() in WEB else r"\?", rest)
    return url if secret is None else scheme + sign + rest[: secret.start()] + mark


def local_path(name: os.PathLike[str] | str) -> Path | None:
    """Return the path that a name is, or that a ``file://`` URL names; None for other URLs."""
    text = os.fspath(name)
    if "\0" in text:
        what = "has a NUL character in its name, which no file can have"
        raise ConfigError(what, where=text, hint="Check where the name comes from.")
    if is_url(text):
        return None
    if "://" in text:
        host, slash, path_text = text[len("file://") :].partition("/")
        if host.lower() not in {"", "localhost"} or not slash:
            what = f"{text} is no file of this machine; expected file:///folder/name"
            raise ConfigError(what, hint="Give the path itself.")
        return Path(unquote(slash + path_text))
    return Path(text)
