"""Standard streams that may be closed, full or narrow: text is lost, never the work.

Whoever starts a command may close its output, send it to a full disk or read its first lines only
(head), and a terminal may know neither dashes nor multiplication signs. The work is done all the
same, and the exit status is that of the work.
"""

import codecs
import io
import os
import sys
from pathlib import Path

_PLAIN = {"–": "-", "×": "x", "→": "->", "…": "...", "≥": ">=", "█": "#", "·": "."}
"""What stands for our own signs on terminals that have no such letters."""


class _Lossy(io.FileIO):
    """A stream that forgets what cannot be written: its disk is full, or its reader went away."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # what io.BufferedWriter gives
        except OSError:
            return len(data)  # type: ignore[arg-type]  # the same


def protect_streams() -> None:
    """Replace the standard streams of this process by ones that never stop the work."""
    codecs.register_error("tmt_dq.plain", _plain)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # It is closed: devnull gets its number, which an output would get otherwise.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            lossy = io.TextIOWrapper(
                io.BufferedWriter(_Lossy(stream.fileno(), "w", closefd=False)),
                encoding=stream.encoding,
                errors="tmt_dq.plain",
                line_buffering=stream.line_buffering,
            )
            setattr(sys, name, lossy)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return a sign that the encoding does not have in plain letters, or as an escape."""
    assert isinstance(error, UnicodeEncodeError)
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        # A byte of a name that is no text, which a script gets as it is.
        return os.fsencode(sign), error.start + 1
    return _PLAIN.get(sign) or ascii(sign)[1:-1], error.start + 1
