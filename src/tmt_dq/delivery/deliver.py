"""Puts a mask into a CRDS cache, with rules that select it."""

import datetime as dt
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from tmt_dq.delivery.caches import exclusive, is_new, make_cache, publish
from tmt_dq.delivery.plan import examine_candidate, plan_delivery
from tmt_dq.delivery.receipts import Receipt
from tmt_dq.errors import ConfigError
from tmt_dq.masks.useafter import useafter_text
from tmt_dq.references import embedded

_log = logging.getLogger(__name__)


def deliver_mask(  # noqa: PLR0913 - the options of the verb, keyword-only
    mask: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str],
    useafter: str | dt.datetime | None = None,
    dry_run: bool = False,
    max_flagged: float | None = None,
    border: bool = True,
    create: bool = False,
    force: bool = False,
    yes: bool = False,
    wait_s: float = 60.0,
) -> Receipt:
    """Put a mask into a CRDS cache, and make it the one that is selected from its USEAFTER on.

    The mask is certified, copied under the next free name and entered into new rules, which are
    derived from the cache's default context. They are asked about exposures of all detectors before
    and after every date they know, and must answer as expected. Only then are the files put in
    place; the new context becomes the default with the last step. Whatever kills the process, the
    cache is the old one or the new one; files that a killed delivery left do no harm, and the next
    one names them.

    Parameters
    ----------
    mask : path
        FITS file of the mask; only read. The copy differs in FILENAME, USEAFTER if it is given,
        and DETECTOR and REFTYPE if the rules call them otherwise; an ASDF extension is left out.
        All other bytes are the same.
    cache : path
        CRDS cache. Where it has rules of several observatories for the instrument, they are those
        of the context in TMT_DQ_CRDS_CONTEXT or CRDS_CONTEXT, else of the first observatory.
    useafter : str or datetime, optional
        Time (UTC) of the first exposure that the mask is for, instead of the file's USEAFTER.
    dry_run : bool
        Only work out what would be delivered; the cache is not touched.
    max_flagged, border : optional
        As in `tmt_dq.certify_mask`; that a mask lacks the border is recorded in the receipt.
    create : bool
        Whether to make the cache if it does not exist. It starts as a copy of the one that comes
        with tmt-dq.
    force : bool
        Whether to deliver a mask with the same flags as the one in force.
    yes : bool
        Whether to deliver a mask that changes the flags of more pixels than the instrument's limit
        (`changed_fraction`).
    wait_s : float
        How many seconds to wait for another delivery into the same cache.

    Returns
    -------
    Receipt
        What was, or would be, delivered.

    Raises
    ------
    CertificationError
        Raised if the mask does not pass.
    MaskFormatError
        Raised if it cannot be read.
    ConfigError
        Raised if there is no such cache (without `create`), or USEAFTER makes no sense.
    SelectionError
        Raised if the cache's rules cannot be trusted.
    DeliveryError
        Raised if the new rules would not answer as expected, if the mask has the same flags as the
        one in force (without `force`) or changes too many of them (without `yes`), or if another
        delivery is under way.
    OutputError
        Raised if the cache cannot be written.

    Examples
    --------
    >>> from tmt_dq import deliver_mask
    >>> receipt = deliver_mask("hot.fits", cache="/data/crds")  # doctest: +SKIP
    >>> receipt.mask, receipt.context  # doctest: +SKIP
    ('tmt_iris_mask_0106.fits', 'tmt_0101.pmap')
    """
    when = None if useafter is None else useafter_text(useafter)
    root = Path(cache).absolute()
    if embedded.is_here(root):
        raise ConfigError(
            "this is the cache that comes with tmt-dq, which is not to be changed",
            where=root,
            hint="Deliver into another folder; a new one starts as a copy of this.",
        )
    if is_new(root) and not create:
        raise ConfigError(
            "there is no cache here",
            where=root,
            hint="Correct the path, or use --create (create=True) to make a cache, which starts as "
            "a copy of the one that comes with tmt-dq.",
        )
    base_root = embedded.cache_path() if is_new(root) else root
    candidate = examine_candidate(Path(mask), base_root, when, max_flagged, border=border)
    options = {"force": force, "yes": yes, "dry_run": dry_run}
    with tempfile.TemporaryDirectory(prefix="tmt-dq-deliver-") as scratch:
        stage = Path(scratch)
        if dry_run:
            receipt, _ = plan_delivery(candidate, base_root, stage, **options)
            return replace(receipt, path=None, cache=root)
        if is_new(root):
            make_cache(root)
        with exclusive(root, wait_s=wait_s):
            receipt, files = plan_delivery(candidate, root, stage, **options)
            publish(stage, root, files)
    _log.info("%s: delivered into %s as %s, %s", mask, root, receipt.mask, receipt.context)
    if receipt.changes is not None:
        _log.debug("%s: it %s", mask, receipt.changes.describe())
    return receipt
