"""Problems collected while a file is looked at, raised together at the end."""

from tmt_dq.errors import TmtDqError


class Problems:
    """Problems of one file, raised as one error: a user corrects all of them in one run."""

    def __init__(self, where: object) -> None:
        self.where = where
        self._found: list[TmtDqError] = []

    def add(self, kind: type[TmtDqError], what: str, hint: str | None = None) -> None:
        """Note a problem of the class `kind`."""
        self._found.append(kind(what, hint=hint))

    def note(self, error: TmtDqError) -> None:
        """Note an error that a check raised."""
        self._found.append(error)

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_any(self) -> None:
        """Raise what was found, as one error of the class of the first problem."""
        if not self._found:
            return
        first = self._found[0]
        hints = dict.fromkeys(error.hint for error in self._found if error.hint)
        if len(self._found) == 1:
            what = first.what
        else:
            listing = "".join(f"\n  - {error.what}" for error in self._found)
            what = f"{len(self._found)} problems:{listing}"
        raise type(first)(what, where=self.where, hint="\n".join(hints) or None)
