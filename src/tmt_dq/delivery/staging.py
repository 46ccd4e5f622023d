"""A delivery or its taking back, prepared: all new files, and the steps that put them in place."""

import contextlib
import pprint
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tmt_dq.delivery.derivation import Derivation
from tmt_dq.delivery.publication import Step
from tmt_dq.delivery.receipts import DeliveredFile, Receipt, receipt_name
from tmt_dq.errors import ConfigError, DeliveryError, OutputError, SelectionError
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.files.copying import write_all
from tmt_dq.instruments import Instrument
from tmt_dq.references import checksums as sums
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_files import RuleFile
from tmt_dq.references.rules import read_chain

__all__ = ["Stage", "stage_delivery", "stage_rollback"]

_CONTEXT_KEYS = ("latest_context", "operational_context", "edit_context")


@dataclass(frozen=True, slots=True)
class Stage:
    """The files of a change, in a folder that is laid out like the cache.

    Parameters
    ----------
    cache : Cache
        The cache that is to change.
    folder : Path
        Where the new files are.
    """

    cache: Cache
    folder: Path

    def relative(self, path: Path) -> str:
        """Return a path of the cache relative to it."""
        return path.relative_to(self.cache.root).as_posix()

    def write(self, target: str, text: str) -> None:
        """Write a file of the change."""
        path = self.folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        with AtomicOutput(path, overwrite=True) as out:
            write_all(out.fd, text.encode(), 0)

    def step(self, target: str, *, decisive: bool = False) -> Step:
        """Return the step that gives a file its new content."""
        current = self.cache.root / target
        before = sums.file_sha256(current) if current.exists() else None
        return Step(target, sums.file_sha256(self.folder / target), before, decisive=decisive)

    def removal(self, target: str, *, decisive: bool = False) -> Step:
        """Return the step that takes a file out of the cache, and keeps it among the receipts."""
        kept = Path(receipt_name(self.cache.observatory, "")).parent / "withdrawn"
        return Step(
            target,
            None,
            sums.file_sha256(self.cache.root / target),
            kept=(kept / Path(target).name).as_posix(),
            decisive=decisive,
        )

    def write_config(self, context: str) -> str | None:
        """Write a ``server_config`` with another default context; None if the cache goes without.

        Without one, or with one that names no context, the .pmap with the highest number counts.
        """
        config = dict(self.cache.server_config())
        if not any(config.get(key) for key in _CONTEXT_KEYS[:2]):
            return None
        config |= dict.fromkeys(_CONTEXT_KEYS, context)
        target = self.relative(self.cache.config / "server_config")
        self.write(target, f"{pprint.pformat(config)}\n")
        return target

    def write_sums(self, entries: Mapping[str, str]) -> str:
        """Write the record of the references' sums."""
        target = self.relative(self.cache.references / sums.FILE_NAME)
        self.write(target, sums.text(entries))
        return target


def reference_folder(cache: Cache, instrument: Instrument) -> Path:
    """Return the folder of an instrument's references."""
    return (
        cache.references
        if cache.subdir_mode() == "flat"
        else cache.references / instrument.name.lower()
    )


def stage_delivery(
    stage: Stage, instrument: Instrument, derivation: Derivation, receipt: Receipt
) -> tuple[Receipt, tuple[Step, ...]]:
    """Write all files of a delivery but the mask, which is there already.

    Parameters
    ----------
    stage : Stage
        Where to; it holds the mask.
    instrument : Instrument
        The instrument.
    derivation : Derivation
        The new rules.
    receipt : Receipt
        The receipt, without its files.

    Returns
    -------
    Receipt
        The receipt, which is written too.
    tuple of Step
        What to do, in this order.
    """
    cache = stage.cache
    mask = stage.relative(reference_folder(cache, instrument) / receipt.mask)
    rules = [stage.relative(cache.mappings / name) for name in derivation.texts]
    for target, text in zip(rules, derivation.texts.values(), strict=True):
        stage.write(target, text)
    recorded = {**sums.entries(cache.references), **_unrecorded(cache, instrument, derivation)}
    mask_sum = sums.file_sha256(stage.folder / mask)
    mask_entry = (cache.root / mask).relative_to(cache.references).as_posix()
    changed = [stage.write_sums({**recorded, mask_entry: mask_sum})]
    config = stage.write_config(derivation.context)
    named = [mask, *rules, *changed, *([config] if config else [])]
    receipt = replace(
        receipt,
        files=tuple(
            DeliveredFile(
                target,
                (stage.folder / target).stat().st_size,
                sums.file_sha256(stage.folder / target),
            )
            for target in named
        ),
    )
    own = receipt_name(cache.observatory, derivation.context)
    stage.write(own, receipt.as_json())
    pmap = rules[-1]
    steps = [stage.step(target) for target in (mask, *rules[:-1], *changed, own)]
    steps.append(stage.step(pmap, decisive=config is None))
    if config is not None:
        steps.append(stage.step(config, decisive=True))
    return receipt, tuple(steps)


def _unrecorded(cache: Cache, instrument: Instrument, derivation: Derivation) -> dict[str, str]:
    """Return the sums of references that the rules name and nobody has recorded yet."""
    known = sums.recorded(cache.references)
    names = set(re.findall(r"'([\w.\-]+\.fits)'", "".join(derivation.before.values())))
    found = {}
    for name in sorted(names - known.keys()):
        # What is missing, or a Git LFS pointer, is not on record: it may come later.
        with contextlib.suppress(SelectionError):
            path = cache.reference(instrument.name, name, verify=False)
            found[path.relative_to(cache.references).as_posix()] = sums.file_sha256(path)
    return found


def stage_rollback(
    stage: Stage, instrument: Instrument, receipt: Receipt, when: str
) -> tuple[Receipt, tuple[Step, ...]]:
    """Prepare that a delivery is taken back.

    Parameters
    ----------
    stage : Stage
        Where to prepare it.
    instrument : Instrument
        The instrument.
    receipt : Receipt
        The delivery; the cache's latest.
    when : str
        The time, for the receipt.

    Returns
    -------
    Receipt
        The receipt, which says that it was taken back.
    tuple of Step
        What to do, in this order.

    Raises
    ------
    DeliveryError
        Raised if the cache is not as the delivery left it.
    """
    cache = stage.cache
    mask, rmap, imap, pmap = (file.path for file in receipt.files[:4])
    _check_unchanged(cache.root, receipt.files[:4])
    try:
        before = cache.context(receipt.context_before, {})
    except (ConfigError, SelectionError) as error:
        raise DeliveryError(
            f"the cache cannot go back to the context before: {error.what}",
            where=receipt.path,
            hint="Restore that context first.",
        ) from error
    _check_own(cache, instrument, receipt)
    config = stage.write_config(before)
    entry = (cache.root / mask).relative_to(cache.references).as_posix()
    recorded = sums.entries(cache.references)
    recorded.pop(entry, None)
    changed = stage.write_sums(recorded)
    own = receipt_name(cache.observatory, receipt.context)
    receipt = replace(receipt, rolled_back=when)
    stage.write(own, receipt.as_json())
    steps = [] if config is None else [stage.step(config, decisive=True)]
    steps.append(stage.removal(pmap, decisive=config is None))
    steps += [stage.removal(target) for target in (imap, rmap, mask)]
    steps += [stage.step(changed), stage.step(own)]
    return receipt, tuple(steps)


def _check_own(cache: Cache, instrument: Instrument, receipt: Receipt) -> None:
    """Make sure that a receipt names the files of its own delivery, and no others."""

    def chain(context: str) -> tuple[RuleFile, ...]:
        return read_chain(cache.mappings, context, instrument, instrument.reftype, verify_sums=True)

    mask, *rules = (cache.root / file.path for file in receipt.files[:4])
    new = chain(receipt.context)
    # Read only what the rules themselves say they come from.
    is_origin = new[0].header["derived_from"] == receipt.context_before
    old = chain(receipt.context_before) if is_origin else new
    problem = None
    if not is_origin:
        problem = f"{receipt.context} was not derived from the context {receipt.context_before}"
    elif rules != [file.path for file in reversed(new)]:
        problem = f"its rules are not those of the context {receipt.context}"
    elif mask.name != receipt.mask or mask.parent not in (
        cache.references,
        cache.references / instrument.name.lower(),
    ):
        problem = f"{mask} is not its mask"
    elif f"'{receipt.mask}'" not in new[-1].text or f"'{receipt.mask}'" in old[-1].text:
        problem = f"{receipt.mask} was not delivered with the context {receipt.context}"
    elif {file.path for file in new} & {file.path for file in old}:
        problem = "its rules are used by the context before, too"
    if problem is not None:
        raise DeliveryError(
            f"is not the receipt of this delivery: {problem}",
            where=receipt.path,
            hint="Restore the receipt, or remove the delivery by hand.",
        )


def _check_unchanged(root: Path, files: Iterable[DeliveredFile]) -> None:
    for file in files:
        path = root / file.path
        try:
            found = sums.file_sha256(path)
        except OSError as error:
            raise OutputError(f"cannot be read: {error.strerror}", where=path) from error
        if found != file.sha256:
            raise DeliveryError(
                f"was changed after its delivery: its sha256 is {found}, the receipt has "
                f"{file.sha256}",
                where=path,
                hint="Restore the file, or remove the delivery by hand.",
            )
