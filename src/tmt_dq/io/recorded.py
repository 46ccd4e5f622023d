"""What an initialized exposure says of the sources of its flags, as far as they can be had again.

Nothing is guessed: a line that is not understood to its last character is an error.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.core.sources.source import SourceReport
from tmt_dq.errors import TmtDqError, UnexplainedFlagsError
from tmt_dq.exposures.history import NO_FLAGS_BEFORE, REPLACED, dq_init_cards, history_entries
from tmt_dq.fits.asdf_tree import refresh
from tmt_dq.fits.cards import Header
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit

__all__ = ["Recorded", "RestoredInput", "read_record", "recorded_context"]

_OUTCOME = re.compile(
    r"(?P<status>COMPLETE|SKIPPED), mask (?P<mask>.+?)(?: \(context (?P<context>\S+)\))?", re.DOTALL
)
_SOURCE = re.compile(
    r"(?P<head>.+?): \d+ pixels flagged(?:, samples [^;]*)?(?P<remarks>; .*)?", re.DOTALL
)
_GUIDE = re.compile(r"windows (?P<windows>.*), parts (?P<parts>.*), expand (?P<expand>\d+)")
_CRDS = ("CRDS_CTX", "CRDS_VER")
_ASDF_CRDS = ("meta.ref_file.crds.context_used", "meta.ref_file.crds.sw_version")


@dataclass(frozen=True, slots=True)
class Recorded:
    """How an exposure was initialized, by its own account.

    Parameters
    ----------
    status : str
        S_DQINIT.
    mask : str
        R_MASK.
    context : str or None
        CRDS_CTX, None where the rules were not asked.
    recipe : Recipe
        The sources beside the mask and the user's flags.
    user_dq : tuple of (str, str) or None
        Name and sha256 of the user's flags.
    drops_unknown : bool
        Whether bits without a meaning were left out.
    no_flags_before : bool
        Whether the exposure is known to have had no flags before.
    lines : tuple of str
        What each source gave.
    replaced : tuple of str
        What it was initialized with before this.
    """

    status: str
    mask: str
    context: str | None
    recipe: Recipe
    user_dq: tuple[str, str] | None
    drops_unknown: bool
    no_flags_before: bool
    lines: tuple[str, ...]
    replaced: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """What HISTORY says of the outcome."""
        chosen = "" if self.context is None else f" (context {self.context})"
        return f"{self.status}, mask {self.mask}{chosen}"

    def agrees(self, reports: Sequence[SourceReport]) -> bool:
        """Whether sources that were had again say what the exposure says of them."""
        said = []
        for report in reports:
            origin = report.origin
            if report.kind == "user DQ" and self.user_dq is not None:
                origin = self.user_dq[0]  # known by its sha256, whatever it is called now
            text = dataclasses.replace(report, origin=origin).describe()
            said.append(text.encode("ascii", "backslashreplace").decode().rstrip())
        return tuple(said) == self.lines


def read_record(file: FitsInput) -> Recorded | None:
    """Read what an exposure says of its initialization.

    Parameters
    ----------
    file : FitsInput
        The open file.

    Returns
    -------
    Recorded or None
        Its account; None where it was not initialized.

    Raises
    ------
    UnexplainedFlagsError
        Raised if it was, but does not say how, or was changed by other steps since.
    """
    header = file.units[0].header
    if "S_DQINIT" not in header:
        return None
    where = file.path
    steps = [key for key in header if key.startswith("S_") and key != "S_DQINIT"]
    later = [key for key in steps if str(header[key]).strip() == "COMPLETE"]
    if later:
        raise UnexplainedFlagsError(
            f"other steps have worked on it: {', '.join(later)}",
            where=where,
            hint="Process the raw ramp, and repeat them.",
        )
    entries = [entry for entry, _ in dq_init_cards(header.commentary("HISTORY"))]
    outcomes = [(n, m) for n, e in enumerate(entries) if (m := _OUTCOME.fullmatch(e))]
    if len(outcomes) != 1:
        what = "HISTORY does not say how it was initialized"
        if outcomes:
            what = f"it was initialized {len(outcomes)} times, each time adding flags"
        raise UnexplainedFlagsError(what, where=where, hint="Process the raw ramp.")
    first, outcome = outcomes[0]
    said = (outcome["status"], outcome["mask"], outcome["context"])
    keywords = tuple(header.get(key) for key in ("S_DQINIT", "R_MASK", "CRDS_CTX"))
    if first or said[:2] != keywords[:2] or said[2] not in (None, keywords[2]):
        raise UnexplainedFlagsError(
            f"its HISTORY ({entries[first]}) contradicts S_DQINIT, R_MASK and CRDS_CTX "
            f"({', '.join(map(str, keywords))})",
            where=where,
            hint="Process the raw ramp.",
        )
    rest = entries[1:]
    own = {NO_FLAGS_BEFORE}
    replaced = tuple(e.removeprefix(REPLACED) for e in rest if e.startswith(REPLACED))
    lines = tuple(e for e in rest if e not in own and not e.startswith((REPLACED, "no mask: ")))
    recipe, user, drops = _sources(lines, where)
    return Recorded(
        *said,
        recipe=recipe,
        user_dq=user,
        drops_unknown=drops,
        no_flags_before=NO_FLAGS_BEFORE in rest,
        lines=lines,
        replaced=replaced,
    )


def recorded_context(header: Header) -> str | None:
    """Return the context whose rules chose the mask of an initialized exposure.

    CRDS_CTX alone does not tell: the exposure can have it from before, and its mask by hand.

    Parameters
    ----------
    header : Header
        Its primary header.

    Returns
    -------
    str or None
        The context; None where the rules were not asked.
    """
    entries = history_entries(header.commentary("HISTORY"))
    outcomes = [match for entry in entries if (match := _OUTCOME.fullmatch(entry))]
    if outcomes:
        return outcomes[-1]["context"]
    found = header.get("CRDS_CTX")
    return None if found is None else str(found)


def _sources(lines: Sequence[str], where: object) -> tuple[Recipe, tuple[str, str] | None, bool]:
    """Return the recipe, the user's flags, and whether bits were left out."""
    fields: dict[str, object] = {}
    user: tuple[str, str] | None = None
    drops = False
    for line in lines:
        match = _SOURCE.fullmatch(line)
        found = None if match is None else _source(match["head"], fields)
        if match is None or found is None:
            raise UnexplainedFlagsError(
                f"its HISTORY has a line that this version does not understand: {line}",
                where=where,
                hint="Process the raw ramp.",
            )
        user = found or user
        drops = drops or (match["remarks"] or "").endswith("left out")
    return Recipe(**fields), user, drops  # type: ignore[arg-type]


def _source(head: str, fields: dict[str, object]) -> tuple[()] | tuple[str, str] | None:
    """Learn from one source; return name and sum of the user's flags, None if not understood."""
    if head.startswith("mask ") or re.fullmatch(r"subarrays SUBARR_MAP \(count \d+\)", head):
        return ()
    if match := re.fullmatch(r"user DQ (.+) \(sha256 ([0-9a-f]{64})\)", head, re.DOTALL):
        return match[1], match[2]
    simple = {
        r"reference pixels instrument \(border \d+\)": "reference_pixels",
        r"DO_NOT_USE in groups mask": "propagate_do_not_use",
        r"missing reads \(groups [\d ]*\)": "missing_reads",
        r"non-finite pixels": "non_finite",
    }
    for pattern, name in simple.items():
        if re.fullmatch(pattern, head):
            fields[name] = True
            return ()
    try:
        return () if _numbers(head, fields) else None
    except (ValueError, TmtDqError):
        return None


def _numbers(head: str, fields: dict[str, object]) -> bool:
    """Learn from a source with numbers; False if it is not one."""
    if match := re.fullmatch(r"dropouts \(values (.+)\)", head):
        fields["dropout_values"] = tuple(float(text) for text in match[1].split())
    elif match := re.fullmatch(r"A/D limits \((.+)\)", head):
        for part in match[1].split(", "):
            name, _, text = part.partition(" ")
            key = {"floor": "ad_floor", "full_scale": "full_scale"}.get(name)
            if key is None:
                return False
            fields[key] = float(text) if not text.lstrip("-").isdigit() else int(text)
    elif match := re.fullmatch(r"guide windows (caller|header|table .+?) \((.+)\)", head):
        guide = _GUIDE.fullmatch(match[2])
        if guide is None:
            return False
        if match[1] == "caller":
            fields["guide_windows"] = tuple(map(_guide_window, guide["windows"].split()))
        else:
            fields["guide_windows_from_file"] = True
        fields["guide_parts"] = tuple(guide["parts"].split())
        fields["guide_expand"] = int(guide["expand"])
    else:
        return False
    return True


def _guide_window(text: str) -> GuideWindow:
    numbers = text.split(",")
    groups = None
    if len(numbers) == 5:
        first, last = numbers.pop().split(":")
        groups = (int(first) - 1, int(last))
    x, y, nx, ny = map(int, numbers)
    return GuideWindow(Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny), groups)


@dataclass(frozen=True, slots=True)
class RestoredInput(FitsInput):
    """An initialized exposure that says nothing of its initialization, as before it."""

    @classmethod
    def of(cls, file: FitsInput, *, keep_context: bool) -> "RestoredInput":
        """Return an exposure without HISTORY of dq_init and, if asked for, without its rules.

        Parameters
        ----------
        file : FitsInput
            The open file.
        keep_context : bool
            Whether the keywords of CRDS stay where they are, to be written over.
        """
        first, *others = file.units
        cards = first.header.cards
        places = [n for n, card in enumerate(cards) if card.keyword == "HISTORY"]
        entries = dq_init_cards(first.header.commentary("HISTORY"))
        ours = {places[number] for _, numbers in entries for number in numbers}
        header = Header(card for n, card in enumerate(cards) if n not in ours)
        if not keep_context:
            for key in _CRDS:
                header.remove(key)
        units = (dataclasses.replace(first, header=header), *others)
        return cls(file.path, file.fd, units, file.compressed)

    def read(self, unit: Unit) -> bytes:
        """Return all bytes of a (small) unit's data; of ASDF, those of before."""
        # Not super(): a dataclass with slots is another class than the one that it closes over.
        data = FitsInput.read(self, unit)
        if unit.name != "ASDF":
            return data
        gone = () if "CRDS_CTX" in self.units[0].header else _ASDF_CRDS
        return refresh(data, metadata=dict.fromkeys(gone), forget=_is_ours, where=self.path)


def _is_ours(description: str) -> bool:
    return re.match(r"tmt-dq \S+ dq_init: ", description) is not None
