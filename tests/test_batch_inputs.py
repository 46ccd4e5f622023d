"""What a batch takes as inputs, and which outputs they get."""

import errno
import io
import json
import os
from pathlib import Path

import pytest

from builders import failing
from tmt_dq.batch import find_inputs
from tmt_dq.batch.plan import name_outputs
from tmt_dq.errors import ConfigError


@pytest.fixture
def tree(folder: Path) -> Path:
    """Folder with files that are wanted and files that are not."""
    for name in (
        "b_uncal.fits",
        "a_uncal.fits",
        "c.fits.gz",
        "d.FIT",
        "notes.txt",
        ".hidden.fits",
        "a_dqinit.fits",
        "deep/er/e.fits",
        ".git/f.fits",
        "out/g.fits",
        "[1].fits",
        "iris 2.fits",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(paths: list[str], base: Path) -> list[str]:
    return [str(Path(path).relative_to(base)) for path in paths]


ALL = ("[1].fits", "a_uncal.fits", "b_uncal.fits", "c.fits.gz", "d.FIT", "iris 2.fits")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # A folder with all below it, but what is hidden, the outputs and links to folders.
        (["."], [*ALL, "deep/er/e.fits"]),
        # The folder of the outputs is searched where it is named.
        (["out"], ["out/g.fits"]),
        (["*_uncal.fits", "**/e.fits"], ["a_uncal.fits", "b_uncal.fits", "deep/er/e.fits"]),
        # An output is not an input; a file whose name looks like a pattern is a file.
        (["a_*"], ["a_uncal.fits"]),
        (["[1].fits"], ["[1].fits"]),
        # Each file once, in the order given; one that is not there is not judged here.
        (["b_uncal.fits", "./b_uncal.fits", "deep/../a_uncal.fits"], ["b_uncal.fits", ALL[1]]),
        (["none.fits"], ["none.fits"]),
        # Lists count from their own folder.
        (["@deep/night.txt"], ["a_uncal.fits", "deep/er/e.fits"]),
        (["@night.csv"], ["a_uncal.fits", "iris 2.fits"]),
    ],
)
def test_inputs(
    tree: Path, given: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    if given == ["."]:
        (tree / "loop").symlink_to(tree)
    (tree / "deep" / "night.txt").write_text("\ufeff../a_uncal.fits\n# no\ner/e.fits\n", "utf-8")
    table = 'night,Input,note\n1,a_uncal.fits,"x, y"\n\n1,"iris 2.fits",\n'
    (tree / "night.csv").write_text(table)
    assert names(find_inputs(given, output_dir=tree / "out"), tree) == expected
    if given[0].startswith("@"):
        manifests = [given[0][1:]]
        assert names(find_inputs([], manifests=manifests, output_dir=tree), tree) == expected


def test_list_on_standard_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    stdin = io.StringIO("# tonight\n\na_uncal.fits\n  iris 2.fits  \r\n")
    found = find_inputs(["-"], output_dir=tree, stdin=stdin)
    assert names(found, tree) == ["a_uncal.fits", "iris 2.fits"]
    # find -print0: names may have line breaks and blanks at their ends.
    found = find_inputs(["-"], output_dir=tree, stdin=io.StringIO("a\nb.fits\0 c.fits\0"))
    assert names(found, tree) == ["a\nb.fits", " c.fits"]


def association(*members: tuple[str, str]) -> str:
    listing = [{"expname": name, "exptype": kind} for name, kind in members]
    return json.dumps({"asn_rule": "Asn_Image", "products": [{"name": "p", "members": listing}]})


def test_association_gives_its_science(tree: Path) -> None:
    path = tree / "deep" / "night.json"
    path.write_text(
        association(
            ("../a_uncal.fits", "science"), ("sky.fits", "background"), ("er/e.fits", "SCIENCE")
        )
    )
    for way in (str(path), path, f"@{path}"):
        found = find_inputs([way], output_dir=tree)
        assert names(found, tree) == ["a_uncal.fits", "deep/er/e.fits"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", association(("sky.fits", "background")), "no member of exptype science"),
        ("a.json", "{}", "is no association"),
        ("a.json", "[1, 2]", "is no association"),
        ("a.json", '{"products": [{"members": ["a.fits"]}]}', "is no association"),
        ("a.json", "not JSON", "is no association"),
        ("a.txt", "# nothing\n\n", "names no file"),
        ("a.csv", "", "no line at all"),
        ("a.csv", "a.fits\nb.fits\n", "has no column input in its first line; found a.fits"),
        ("a.csv", "n,input\n1,a.fits\n2\n", "row 3 names no file"),
        ("a.csv", "input\n", "has no row"),
    ],
)
def test_bad_lists(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        find_inputs([f"@{folder / name}"], output_dir=folder)
    assert caught.value.where == str(folder / name)


def test_nothing(tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "binary").write_bytes(b"SIMPLE\xff\xfe")
    for inputs, message in (
        ([], "there is no input"),
        ([tree / "empty"], "has no FITS file"),
        ([f"{tree}/*.nothing"], "has no FITS file"),
        ([f"@{tree}/none.txt"], "cannot be read: No such file"),
        (["-"], "names no file"),
        ([f"@{tree}/binary"], "is not text"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_inputs(inputs, output_dir=tree, stdin=io.StringIO(""))


def test_same_output_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        name_outputs(["/n1/a_uncal.fits", "/n2/a.fits.gz", "/n3/b.fits"], Path("/out"))
    what = "/n1/a_uncal.fits and /n2/a.fits.gz have the same output, /out/a_dqinit.fits"
    assert caught.value.what == what
    many = [f"/n{night}/{number}.fits" for night in (1, 2) for number in range(20)]
    with pytest.raises(ConfigError, match="19 more"):
        name_outputs(many, Path("/out"))


def test_own_outputs_are_left_out() -> None:
    # What a shell makes of *.fits the second time.
    outputs = name_outputs(["/n/a.fits", "/n/a_dqinit.fits", "/n/b.fits"], Path("/n"))
    assert outputs == {"/n/a.fits": "/n/a_dqinit.fits", "/n/b.fits": "/n/b_dqinit.fits"}


@pytest.mark.parametrize(
    ("given", "closed"),
    [
        ("{tree}", "deep/er"),
        ("{tree}/**/*.fits", "deep/er"),
        ("{tree}/d*/*/e.fits", "deep"),
        ("{tree}/deep/er/*.fits", "deep/er"),
    ],
)
def test_closed_folder(
    tree: Path, given: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ramps in it would be left out in silence."""
    real, folder = os.access, str(tree / closed)

    def is_closed(path: object) -> bool:
        return os.path.normpath(str(path)) == folder

    # Root, who runs tests here and there, may enter every folder.
    monkeypatch.setattr(os, "scandir", failing(errno.EACCES, os.scandir, is_closed))
    monkeypatch.setattr(os, "access", lambda path, *more: not is_closed(path) and real(path, *more))
    with pytest.raises(ConfigError, match="cannot be searched: Permission denied") as caught:
        find_inputs([given.format(tree=tree)], output_dir=tree / "out")
    assert os.path.normpath(str(caught.value.where)) == folder


def test_member_without_a_type(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tree / "night.json"
    members = [{"expname": "a_uncal.fits"}, {"expname": "b_uncal.fits", "exptype": "science"}]
    path.write_text(json.dumps({"products": [{"members": members}]}))
    assert len(find_inputs([path], output_dir=tree)) == 2
    assert f"{path}: 1 member has no exptype and is taken for science" in caplog.text
