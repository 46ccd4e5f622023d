"""Which reference the rules select, and what is said of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from reference_helpers import exposure, make_cache, published_cache, rmap_text
from tmt_dq.errors import ConfigError, SelectionError
from tmt_dq.references import RuleCheck, crds_tools, rules, select_reference
from tmt_dq.references.rules import load_rules


def test_everything_about_the_selection(tmp_path: Path) -> None:
    cache = published_cache(tmp_path)
    found = select_reference(exposure(DETECTOR="img1"), crds_path=cache)
    assert (found.observatory, found.reftype, found.context) == ("tmt", "mask", "tmt_0001.pmap")
    assert found.path == cache / "references/tmt/iris/tmt_iris_mask_0001.fits"
    assert found.uri == "crds://tmt_iris_mask_0001.fits"
    assert not found.not_applicable
    assert found.cache == cache
    assert found.crds_version.split(".")[0] in ("13", "14")
    useafter = ("USEAFTER", "2015-10-01 00:00:00 or later", "2026-05-01 10:11:12.345")
    assert found.rules == (
        RuleCheck("META.INSTRUMENT.DETECTOR", "IRIS1", "IRIS1", matched=True),
        RuleCheck("META.SUBARRAY.NAME", "GENERIC (any)", "FULL", matched=True),
        RuleCheck(*useafter, matched=True),
    )


class TestRules:
    @pytest.mark.parametrize("subarray", ["N/A", "ANY", "*", "NOT APPLICABLE", "", None])
    def test_a_dataset_without_subarray_is_not_taken_for_any(
        self, tmp_path: Path, subarray: Any
    ) -> None:
        """Crds lets a dataset's N/A or * match every rule, the one for FULL as well."""
        rmap = rmap_text({("IRIS1", "FULL"): {"2015-01-01 00:00:00": "a.fits"}})
        cache = make_cache(tmp_path, rmap, files=["a.fits"])
        with pytest.raises(SelectionError, match="no rule"):
            select_reference(exposure(SUBARRAY=subarray), crds_path=cache)

    @pytest.mark.parametrize("path", ["run/archive/cache", "N/A", "data n/a"])
    def test_a_path_is_never_taken_for_not_applicable(self, tmp_path: Path, path: Any) -> None:
        cache = make_cache(tmp_path / path)
        found = select_reference(exposure(), crds_path=cache)
        assert found.name == "tmt_iris_mask_0001.fits"
        assert found.path is not None
        assert found.path.is_file()

    def test_a_rule_that_says_not_applicable(self, tmp_path: Path) -> None:
        rmap = rmap_text({("IRIS1", "GENERIC"): {"2015-01-01 00:00:00": "N/A"}})
        found = select_reference(exposure(), crds_path=make_cache(tmp_path, rmap))
        assert found.not_applicable
        assert (found.name, found.path, found.uri) == (None, None, "N/A")
        assert [check.parkey for check in found.rules][-1] == "USEAFTER"

    @pytest.mark.parametrize("where", [{"imap": "{'MASK' : 'N/A'}"}, {"pmap": "{'IRIS' : 'N/A'}"}])
    def test_not_applicable_higher_up(self, tmp_path: Path, where: Any) -> None:
        assert select_reference(exposure(), crds_path=make_cache(tmp_path, **where)).name is None

    def test_no_match_and_omit_are_never_not_applicable(self, tmp_path: Path) -> None:
        """With reffile_required NO, crds answers n/a when nothing matches."""
        cache = make_cache(tmp_path, rmap_text(reffile_required="NO"))
        with pytest.raises(SelectionError, match="no rule"):
            select_reference(exposure(DETECTOR="IRIS2"), crds_path=cache)
        cache = make_cache(tmp_path / "a", imap="{'MASK' : 'OMIT'}")
        with pytest.raises(SelectionError, match="OMIT"):
            select_reference(exposure(), crds_path=cache)
        rmap = rmap_text({("IRIS1", "GENERIC"): {"2015-01-01 00:00:00": "OMIT"}})
        with pytest.raises(SelectionError, match="no rule"):
            select_reference(exposure(), crds_path=make_cache(tmp_path / "b", rmap))

    def test_the_table_of_an_exposure_without_rule(self, tmp_path: Path) -> None:
        with pytest.raises(SelectionError) as caught:
            select_reference(
                exposure(DETECTOR="IRIS2", SUBARRAY="CUSTOM"),
                crds_path=make_cache(tmp_path),
                where="ramp.fits",
            )
        lines = str(caught.value).splitlines()
        assert lines[0].startswith("ramp.fits: no rule of tmt_iris_mask_0001.rmap in tmt_0001.pmap")
        rows = [line.split() for line in lines]
        assert ["META.INSTRUMENT.DETECTOR", "IRIS1", "IRIS2", "no"] in rows
        assert ["META.SUBARRAY.NAME", "GENERIC", "(any)", "CUSTOM", "yes"] in rows
        assert caught.value.hint is not None


class TestContext:
    CONTEXTS = ("tmt_0002.pmap", "tmt_0010.pmap", "tmt_0009.pmap", "tmt.pmap")

    def test_the_highest_number_by_default(self, tmp_path: Path) -> None:
        cache = make_cache(tmp_path, contexts=self.CONTEXTS)
        for context in (None, "latest", "tmt-latest", "tmt-operational"):
            found = select_reference(exposure(), crds_path=cache, context=context)
            assert found.context == "tmt_0010.pmap"

    @pytest.mark.parametrize(
        ("more", "expected"),
        [("", "tmt_0002.pmap"), (", 'latest_context': 'tmt_0009.pmap'", "tmt_0009.pmap")],
    )
    def test_what_the_server_said(self, tmp_path: Path, more: str, expected: str) -> None:
        config = f"{{'operational_context': 'tmt_0002.pmap'{more}}}"
        cache = make_cache(tmp_path, contexts=self.CONTEXTS, config=config)
        assert select_reference(exposure(), crds_path=cache).context == expected

    def test_the_variables_of_tmt_dq_go_before_those_of_crds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """CRDS_* may be there for JWST."""
        jwst = tmp_path / "jwst"
        (jwst / "mappings/jwst").mkdir(parents=True)
        monkeypatch.setenv("CRDS_PATH", str(jwst))
        monkeypatch.setenv("CRDS_MAPPATH_SINGLE", str(jwst / "mappings/jwst"))
        monkeypatch.setenv("CRDS_CONTEXT", "jwst_1241.pmap")
        cache = make_cache(tmp_path / "cache", contexts=self.CONTEXTS)
        monkeypatch.setenv("TMT_DQ_CRDS_PATH", str(cache))
        with pytest.raises(ConfigError, match="TMT_DQ_CRDS_CONTEXT"):
            select_reference(exposure())
        monkeypatch.setenv("TMT_DQ_CRDS_CONTEXT", "tmt_0002.pmap")
        assert select_reference(exposure()).context == "tmt_0002.pmap"
        assert select_reference(exposure(), context="tmt_0009.pmap").context == "tmt_0009.pmap"
        assert crds_tools.run(["list", "--status"]) == 0
        assert str(cache) in capfd.readouterr().out
        other = make_cache(tmp_path / "other")
        found = select_reference(exposure(), crds_path=other, context="latest")
        assert found.cache == other

    @pytest.mark.parametrize("file", ["tmt_iris_mask_0001.fits", "tmt_iris_mask_0001.rmap"])
    def test_files_that_the_server_declared_bad(self, tmp_path: Path, file: str) -> None:
        cache = make_cache(tmp_path, config=f"{{'bad_files_list': [{file!r}]}}")
        with pytest.raises(SelectionError, match=f"{file} was declared scientifically bad"):
            select_reference(exposure(), crds_path=cache)

    def test_a_rollback_between_choice_and_reading(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a cache without server_config, a rollback takes the .pmap away."""
        cache = make_cache(tmp_path, contexts=self.CONTEXTS)

        def late(mappings: Path, context: str, *rest: Any, **options: Any) -> Any:
            if context == "tmt_0010.pmap":
                (mappings / context).unlink(missing_ok=True)
            return load_rules(mappings, context, *rest, **options)

        with monkeypatch.context() as patch:
            patch.setattr(rules, "load_rules", late)
            assert select_reference(exposure(), crds_path=cache).context == "tmt_0009.pmap"
        with pytest.raises(SelectionError, match=r"tmt_0010\.pmap is not in the cache"):
            select_reference(exposure(), crds_path=cache, context="tmt_0010.pmap")


class TestCache:
    def test_rules_and_references_in_different_folders(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What CRDS' variables for that say is not left out in silence."""
        cache = make_cache(tmp_path / "cache")
        monkeypatch.setenv("CRDS_MAPPATH", str(tmp_path / "nowhere"))
        for path in (None, str(tmp_path / "nowhere")):
            if path is not None:
                monkeypatch.setenv("CRDS_PATH", path)
            with pytest.raises(ConfigError, match=r"CRDS_MAPPATH: .* CRDS_PATH"):
                select_reference(exposure())
        monkeypatch.chdir(tmp_path)
        assert select_reference(exposure(), crds_path="cache").cache == cache
        monkeypatch.setenv("TMT_DQ_CRDS_PATH", str(cache))
        assert select_reference(exposure()).cache == cache

    @pytest.mark.parametrize("flat", [True, False])
    def test_both_layouts(self, tmp_path: Path, flat: Any) -> None:
        cache = make_cache(tmp_path, flat=flat)
        folder = "references/tmt" if flat else "references/tmt/iris"
        found = select_reference(exposure(), crds_path=cache)
        assert found.path == cache / folder / "tmt_iris_mask_0001.fits"

    def test_two_caches_with_the_same_context(self, tmp_path: Path) -> None:
        caches = [
            make_cache(
                tmp_path / name,
                rmap_text({("IRIS1", "GENERIC"): {"2015-01-01 00:00:00": f"{name}.fits"}}),
                files=[f"{name}.fits"],
            )
            for name in ("a", "b")
        ]
        for _ in range(2):
            names = [select_reference(exposure(), crds_path=cache).name for cache in caches]
            assert names == ["a.fits", "b.fits"]

    def test_a_change_is_noticed(self, tmp_path: Path) -> None:
        cache = make_cache(tmp_path, files=["tmt_iris_mask_0001.fits", "tmt_iris_mask_0002.fits"])
        assert select_reference(exposure(), crds_path=cache).name == "tmt_iris_mask_0001.fits"
        rmap = cache / "mappings/tmt/tmt_iris_mask_0001.rmap"
        newer = rmap.stat().st_mtime_ns + 1
        rule = {("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": "tmt_iris_mask_0002.fits"}}
        rmap.write_text(rmap_text(rule))
        os.utime(rmap, ns=(newer, newer))
        assert select_reference(exposure(), crds_path=cache).name == "tmt_iris_mask_0002.fits"

    def test_a_context_pickle_is_never_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = make_cache(tmp_path)
        (cache / "pickles/tmt").mkdir(parents=True)
        (cache / "pickles/tmt/tmt_0001.pmap.pkl").write_bytes(b"cbuiltins\nexit\n(tR.")
        monkeypatch.setenv("CRDS_USE_PICKLED_CONTEXTS", "1")
        assert select_reference(exposure(), crds_path=cache).name is not None
