"""Takes the delivery in force out of its cache again."""

import contextlib
import datetime as dt
import os
from dataclasses import replace
from pathlib import Path

from tmt_dq.delivery.caches import config_text, exclusive, write_text
from tmt_dq.delivery.receipts import Receipt, read_receipt, receipts_folder
from tmt_dq.errors import DeliveryError, OutputError
from tmt_dq.files.atomic import output_errors
from tmt_dq.references.cache import Cache, open_cache
from tmt_dq.references.rule_files import read_rule_file


def rollback(
    receipt: str | os.PathLike[str] | Receipt, *, dry_run: bool = False, wait_s: float = 60.0
) -> Receipt:
    """Take the last delivery out of its cache again.

    The context before becomes the default again. Mask and rules stay where they are, so that
    whoever selected the mask a moment ago still finds it; in a cache without ``server_config`` the
    .pmap is moved to ``deliveries/<observatory>/withdrawn``. Their names are not used again, so
    that what was calibrated with them can be told apart.

    Parameters
    ----------
    receipt : path or Receipt
        The receipt of the delivery, in the cache.
    dry_run : bool
        Only make sure that the delivery can be taken back; the cache is not touched.
    wait_s : float
        How many seconds to wait for a delivery into the same cache.

    Returns
    -------
    Receipt
        The receipt, which says now that the delivery was taken back; in a dry run it does not.

    Raises
    ------
    DeliveryError
        Raised if it is no receipt, or of a delivery that is not in force: it was taken back
        already, or there were later ones.
    SelectionError
        Raised if the context before is not in the cache any more.
    OutputError
        Raised if the cache cannot be written.

    Examples
    --------
    >>> from tmt_dq import rollback
    >>> path = "/data/crds/deliveries/tmt/tmt_0101.json"
    >>> rollback(path).rolled_back  # doctest: +SKIP
    '2026-11-24T09:12:45'
    """
    path = receipt.path if isinstance(receipt, Receipt) else Path(receipt)
    if path is None:
        raise DeliveryError("was not delivered (dry_run), so it cannot be taken back")
    found = read_receipt(path)
    if dry_run:
        _cache_of(found)
        return found
    with exclusive(found.cache, wait_s=wait_s):
        cache = _cache_of(found)
        _withdraw(cache, found)
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
        found = replace(found, rolled_back=now)
        # A note for people. It may be missing: what counts is the context.
        with contextlib.suppress(OutputError):
            write_text(path, found.as_json())
    return found


def _cache_of(found: Receipt) -> Cache:
    """Return the cache of a receipt, if its delivery is in force and can be taken back."""
    cache = open_cache(found.cache, found.observatory)
    current = cache.context("latest")
    if current != found.context:
        raise DeliveryError(
            f"this delivery is not in force: the cache's context is {current}, not {found.context}",
            where=found.path,
            hint="It was taken back already, or later deliveries must be taken back first, the "
            "last one first.",
        )
    # The rules themselves know what they come from; a receipt may be wrong.
    origin = read_rule_file(cache.mappings / found.context).header.get("derived_from")
    if origin != found.context_before:
        raise DeliveryError(
            f"is not the receipt of this delivery: {found.context} was derived from the context "
            f"{origin}, not {found.context_before}",
            where=found.path,
        )
    cache.context(found.context_before)  # it must be there
    return cache


def _withdraw(cache: Cache, found: Receipt) -> None:
    """Put the context before in force, by one rename."""
    config = config_text(cache, found.context_before)
    if config is not None:
        write_text(cache.config / "server_config", config)
        return
    withdrawn = receipts_folder(cache.root, cache.observatory) / "withdrawn"
    with output_errors(withdrawn):
        withdrawn.mkdir(exist_ok=True)
        (cache.mappings / found.context).rename(withdrawn / found.context)
