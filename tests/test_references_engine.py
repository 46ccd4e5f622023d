"""The private engine: cheap, without traces, and of one mind with the full package."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from reference_helpers import exposure, isolate, make_cache, rmap_text
from tmt_dq.references import private_crds, select_reference
from tmt_dq.references.adapter import registered_engine


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path / "embedded")


def run_python(code: str, *arguments: str, **environment: str) -> Any:
    """Run a script in a process of its own; return what it prints, as JSON."""
    prelude = "import json, os, sys\nfrom reference_helpers import *\n"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_a_selection_leaves_no_trace(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    found = run_python(
        """
        import logging
        from tmt_dq.references import select_reference
        before = dict(os.environ)
        name = select_reference(exposure()).name
        print(json.dumps({
            "name": name,
            "same": dict(os.environ) == before,
            "modules": [m for m in sys.modules if m.split(".")[0] in {
                "crds", "requests", "asdf", "stdatamodels", "stpipe", "filelock", "parsley"}],
            "handlers": len(logging.getLogger("CRDS").handlers),
            "propagate": logging.getLogger("CRDS").propagate,
        }))
        """,
        CRDS_PATH=str(tmp_path / "cache"),
    )
    assert found == {
        "name": "tmt_iris_mask_0001.fits",
        "same": True,
        "modules": [],
        "handlers": 0,
        "propagate": True,
    }


def test_importing_the_package_is_cheap() -> None:
    """Neither crds nor astropy before the first selection."""
    modules = run_python(
        """
        import tmt_dq.references, tmt_dq.references.crds_tools
        print(json.dumps([m for m in sys.modules if m in ("crds", "astropy", "numpy")]))
        """
    )
    assert modules == []


RULES = {
    ("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": "a.fits", "2020-05-05 12:00:00": "b.fits"},
    ("IRIS1", "FULL"): {"2018-01-01 00:00:00": "c.fits"},
    ("IRIS2|IRIS3", "GENERIC"): {"2015-10-01 00:00:00": "d.fits", "2024-01-01 00:00:00": "N/A"},
    ("IRIS4", "GENERIC"): {"2015-10-01 00:00:00": "N/A"},
    ("IRIS4", "CUSTOM"): {"2015-10-01 00:00:00": "e.fits"},
}


def test_the_answers_are_those_of_the_full_package(tmp_path: Path) -> None:
    """Both live in one process, before and after the full package is imported."""
    cache = make_cache(tmp_path / "cache", rmap_text(RULES), files=[f"{c}.fits" for c in "abcde"])
    (cache / "config/tmt").mkdir(parents=True)
    config = {
        "observatory": "tmt",
        "operational_context": "tmt_0001.pmap",
        "latest_context": "tmt_0001.pmap",
        "force_remote_mode": False,
        "last_synced": "",
        "bad_files_list": [],
    }
    (cache / "config/tmt/server_config").write_text(repr(config))
    found = run_python(
        """
        import itertools
        from tmt_dq.errors import SelectionError
        from tmt_dq.references import register, select_reference

        def ours(header):
            try:
                selection = select_reference(header)
            except SelectionError:
                return "NOT FOUND"
            return selection.name or "N/A", str(selection.path)

        headers = [
            exposure(DETECTOR=detector, SUBARRAY=subarray, DATE_OBS=date, TIME_OBS=time)
            for detector, subarray, date, time in itertools.product(
                ["IRIS1", "IRIS2", "IRIS3", "IRIS4", "IFU"],
                ["FULL", "CUSTOM", "GENERIC", "roi", "", "UNDEFINED"],
                ["2015-09-30", "2015-10-01", "2020-05-05", "2024-01-01"],
                ["00:00:00", "11:59:59.999", "12:00:00", "23:59:59.5"],
            )
        ]
        before = [ours(header) for header in headers]
        private = [m for m in sys.modules if m.startswith("crds")]
        register()
        import crds
        after = [ours(header) for header in headers]
        keys = {"INSTRUME": "META.INSTRUMENT.NAME", "DETECTOR": "META.INSTRUMENT.DETECTOR",
                "SUBARRAY": "META.SUBARRAY.NAME", "DATE-OBS": "META.OBSERVATION.DATE",
                "TIME-OBS": "META.OBSERVATION.TIME"}
        def theirs(header, reftypes=["mask"]):
            parameters = {keys[key]: value for key, value in header.items()}
            try:
                name = crds.getrecommendations(parameters, reftypes, observatory="tmt")["mask"]
                if name == "NOT FOUND n/a":
                    path = None
                elif name.startswith("NOT FOUND"):
                    return "NOT FOUND"
                else:
                    path = crds.getreferences(parameters, reftypes, observatory="tmt")["mask"]
            except crds.CrdsLookupError:
                return "NOT FOUND"
            return "N/A" if name == "NOT FOUND n/a" else name, str(path)
        full = [theirs(header) for header in headers]
        print(json.dumps({
            "headers": len(headers),
            "private": private,
            "after": before == after,
            "different": [list(x) for x in zip(headers, before, full) if x[1] != x[2]],
            "answers": sorted({str(answer[0]) for answer in full if answer != "NOT FOUND"}),
            "unmatched": full.count("NOT FOUND"),
        }))
        """,
        CRDS_PATH=str(cache),
    )
    assert found["headers"] == 480
    assert found["different"] == []
    assert found["private"] == []
    assert found["after"]
    assert found["answers"] == ["N/A", "a.fits", "b.fits", "c.fits", "d.fits", "e.fits"]
    assert found["unmatched"] > 0


def test_the_full_package_imported_first(tmp_path: Path) -> None:
    """Importing crds after or before makes no difference; the engine stays private."""
    found = run_python(
        """
        import crds, crds.core.rmap, logging
        from tmt_dq.references import private_crds, register, select_reference
        handlers = len(logging.getLogger("CRDS").handlers)
        name = select_reference(exposure()).name
        engine = private_crds.engine()
        known = list(crds.core.constants.ALL_OBSERVATORIES)
        register()
        register()
        from crds.tmt import locate
        print(json.dumps({
            "name": name,
            "private": engine.load("crds.core.rmap") is not crds.core.rmap,
            "known": [known.count("tmt"), crds.core.constants.ALL_OBSERVATORIES.count("tmt")],
            "handlers": len(logging.getLogger("CRDS").handlers) - handlers,
            "properties": locate.get_file_properties("tmt_iris_mask_0001.fits"),
        }))
        """,
        CRDS_PATH=str(make_cache(tmp_path / "cache")),
    )
    assert found == {
        "name": "tmt_iris_mask_0001.fits",
        "private": True,
        "known": [0, 1],
        "handlers": 0,
        "properties": ["iris", "mask"],
    }


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


def test_modules_that_are_not_there() -> None:
    engine = private_crds.engine()
    with pytest.raises(ModuleNotFoundError, match="nonesuch"):
        engine.load("crds.nonesuch")
    assert "crds.nonesuch" not in engine
    assert "crds.core.rmap" in registered_engine()


SECOND = """
    import tmt_dq.instruments as instruments
    from tmt_dq.instruments import Detector, Instrument
    liger = Instrument(
        name="LIGER", telescope="Keck", observatory="ligeriri", reftype="dq",
        keywords={**instruments.load("IRIS").keywords, "META.SUBARRAY.NAME": "SUBNAME"},
        detectors={"L1": Detector("L1", ("IMG",), (2048, 2048), 4)},
    )
    load = instruments.load
    instruments.available = lambda: ("IRIS", "LIGER")
    instruments.load = lambda name: liger if name.upper() == "LIGER" else load(name)
"""


def test_a_second_observatory_needs_only_a_description(tmp_path: Path) -> None:
    """No folder of its own, no Python: an instrument's description makes crds know it."""
    cache = make_cache(tmp_path / "cache")
    for kind in ("mappings", "references"):
        (cache / kind / "tmt").rename(cache / kind / "ligeriri")
    (cache / "references/ligeriri/iris").rename(cache / "references/ligeriri/liger")
    for path in list((cache / "mappings/ligeriri").iterdir()):
        text = path.read_text().replace("'MASK'", "'DQ'").replace("IRIS1", "L1")
        text = text.replace("'TMT'", "'LIGERIRI'").replace("'IRIS'", "'LIGER'")
        text = text.replace("'tmt_iris", "'ligeriri_iris")
        text = text.replace("'derived_from'", "'ignore_checksum': True, 'derived_from'")
        path.with_name(path.name.replace("tmt_", "ligeriri_")).write_text(text)
        path.unlink()
    mask = next((cache / "references/ligeriri/liger").iterdir())
    mask.rename(mask.with_name("ligeriri_iris_mask_0001.fits"))
    found = run_python(
        dedent(SECOND)
        + dedent(
            """
            from tmt_dq.references import register, select_reference
            selection = select_reference(exposure(INSTRUME="Liger", DETECTOR="IMG", SUBNAME="FULL"))
            register()
            from crds.ligeriri import TYPES, locate
            from crds.core import utils
            print(json.dumps([
                selection.observatory, selection.reftype, selection.context, selection.name,
                utils.instrument_to_observatory("liger"), utils.instrument_to_observatory("iris"),
                TYPES.filekinds, locate.filekind_to_keyword("dq"),
            ]))
            """
        ),
        CRDS_PATH=str(cache),
    )
    assert found == [
        "ligeriri",
        "dq",
        "ligeriri_0001.pmap",
        "ligeriri_iris_mask_0001.fits",
        "ligeriri",
        "tmt",
        ["all", "dq"],
        "R_DQ",
    ]
