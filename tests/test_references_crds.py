"""crds as tmt-dq uses it: the answers of stock crds, no traces, errors that name the variable."""

import json
import os
import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import run_python
from reference_helpers import exposure, make_cache, rmap_text
from tmt_dq.errors import NoMatchError
from tmt_dq.references import select_reference
from tmt_dq.references.adapter import import_crds


def answered(code: str, cache: Path) -> Any:
    """Run a script in a process of its own; return what it prints, as JSON."""
    prelude = "import json, os, sys\nfrom reference_helpers import *\n"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "CRDS_PATH": str(cache)}
    process = run_python("-W", "error", "-c", prelude + dedent(code), env=env, code=0)
    return json.loads(process.stdout.splitlines()[-1])


DATES = ["2015-10-01 00:00:00", "2018-01-01 12:00:00", "2020-05-05 23:59:59"]
KEYS = {
    "INSTRUME": "META.INSTRUMENT.NAME",
    "DETECTOR": "META.INSTRUMENT.DETECTOR",
    "SUBARRAY": "META.SUBARRAY.NAME",
    "DATE-OBS": "META.OBSERVATION.DATE",
    "TIME-OBS": "META.OBSERVATION.TIME",
}
rules = st.dictionaries(
    st.tuples(
        st.sampled_from(["IRIS1", "IRIS2", "IRIS2|IRIS3", "NOT IRIS1", "N/A", "IRIS*"]),
        st.sampled_from(["FULL", "CUSTOM", "GENERIC", "N/A", "FULL|CUSTOM"]),
    ),
    st.dictionaries(
        st.sampled_from(DATES), st.sampled_from(["a.fits", "b.fits", "c.fits", "N/A"]), min_size=1
    ),
    min_size=1,
    max_size=5,
)
headers = st.builds(
    lambda detector, subarray, date, time: exposure(
        DETECTOR=detector, SUBARRAY=subarray, DATE_OBS=date, TIME_OBS=time
    ),
    st.sampled_from(["IRIS1", "IRIS2", "IRIS3", "IFU"]),
    st.sampled_from(["FULL", "CUSTOM", "GENERIC", "roi", "UNDEFINED"]),
    st.sampled_from(["2015-09-30", *(date[:10] for date in DATES)]),
    st.sampled_from(["00:00:00", "11:59:59.999", "12:00:00", "23:59:59", "23:59:59.5"]),
)


@given(rules, st.lists(headers, min_size=1, max_size=12))
def test_the_answers_are_those_of_stock_crds(
    tmp_path_factory: pytest.TempPathFactory, rules: Any, headers: list[dict[str, object]]
) -> None:
    """Stock crds reads the same files by itself; an empty answer means that no rule matches."""
    cache = make_cache(
        tmp_path_factory.mktemp("cache"), rmap_text(rules), files=["a.fits", "b.fits", "c.fits"]
    )
    context = import_crds().rmap.load_mapping("tmt_0001.pmap", path=str(cache / "mappings/tmt"))
    for header in headers:
        parameters = {KEYS[key]: str(value) for key, value in header.items()}
        theirs = context.get_best_references(parameters, include=["mask"])["mask"]
        try:
            ours = select_reference(header, crds_path=cache).name
        except NoMatchError:
            ours = ""
        if theirs == "NOT FOUND n/a":
            assert ours is None
        else:
            assert ours == ("" if theirs.startswith("NOT FOUND") else theirs)


def test_a_selection_leaves_no_trace(tmp_path: Path) -> None:
    found = answered(
        """
        import logging
        import tmt_dq.references.crds_tools
        from tmt_dq.references import register, select_reference
        early = [name for name in sys.modules if name in ("crds", "astropy")]
        before = dict(os.environ)
        name = select_reference(exposure()).name
        register()
        register()
        import crds
        from crds.tmt import locate
        print(json.dumps({
            "name": name,
            "early": early,
            "same": dict(os.environ) == before,
            "handlers": len(logging.getLogger("CRDS").handlers),
            "propagate": logging.getLogger("CRDS").propagate,
            "known": crds.core.constants.ALL_OBSERVATORIES.count("tmt"),
            "properties": locate.get_file_properties("tmt_iris_mask_0001.fits"),
        }))
        """,
        make_cache(tmp_path / "cache"),
    )
    assert found == {
        "name": "tmt_iris_mask_0001.fits",
        "early": [],
        "same": True,
        "handlers": 0,
        "propagate": True,
        "known": 1,
        "properties": ["iris", "mask"],
    }


def test_crds_imported_first_keeps_its_variables_and_handler(tmp_path: Path) -> None:
    found = answered(
        """
        import crds, logging
        before = dict(os.environ), list(logging.getLogger("CRDS").handlers)
        from tmt_dq.references import select_reference
        name = select_reference(exposure()).name
        after = dict(os.environ), list(logging.getLogger("CRDS").handlers)
        print(json.dumps([name, before == after, len(after[1])]))
        """,
        make_cache(tmp_path / "cache"),
    )
    assert found == ["tmt_iris_mask_0001.fits", True, 1]


def test_a_wrong_variable_is_named_and_can_be_corrected(tmp_path: Path) -> None:
    """crds raises AssertionError, ValueError and NameError while it is imported."""
    found = answered(
        """
        from tmt_dq.errors import ConfigError
        from tmt_dq.references import select_reference
        found = []
        for name, value in [("CRDS_MODE", "bogus"), ("CRDS_CLIENT_RETRY_COUNT", "x"),
                            ("CRDS_VERBOSITY", "abc")]:
            os.environ[name] = value
            try:
                select_reference(exposure())
            except ConfigError as error:
                found.append([error.exit_code, error.where])
            del os.environ[name]
        print(json.dumps([*found, select_reference(exposure()).name]))
        """,
        make_cache(tmp_path / "cache"),
    )
    assert found == [
        [2, "CRDS_MODE, CRDS_PATH"],
        [2, "CRDS_CLIENT_RETRY_COUNT, CRDS_PATH"],
        [2, "CRDS_PATH, CRDS_VERBOSITY"],
        "tmt_iris_mask_0001.fits",
    ]


def test_threads_select_at_once(tmp_path: Path) -> None:
    rules = {
        ("IRIS1", "GENERIC"): {f"20{n:02}-01-01 00:00:00": f"m{n}.fits" for n in range(10, 40)}
    }
    cache = make_cache(tmp_path, rmap_text(rules), files=[f"m{n}.fits" for n in range(10, 40)])
    wrong: list[str] = []

    def work(start: int) -> None:
        for step in range(30):
            year = 10 + (start + step) % 30
            name = select_reference(exposure(DATE_OBS=f"20{year}-06-01"), crds_path=cache).name
            if name != f"m{year}.fits":
                wrong.append(f"{year}: {name}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
