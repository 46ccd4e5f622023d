"""Pictures, pages and DS9 regions of a summary."""

import base64
import html.parser
import re
import resource
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import builders
from tmt_dq import summarize
from tmt_dq.errors import ConfigError, OutputError

FLAG = builders.CONVENTION
PNG = b"\x89PNG\r\n\x1a\n"


def flags() -> npt.NDArray[np.uint32]:
    """Return 20 x 30 pixels: a reference row, a block, a warm pixel, five dead ones."""
    dq = np.zeros((20, 30), np.uint32)
    dq[0] = FLAG["REFERENCE_PIXEL"]
    dq[5:8, 10:14] = FLAG["HOT"] | FLAG["DO_NOT_USE"]
    dq[12, 3] = FLAG["WARM"]
    dq[15, 20:25] = FLAG["DEAD"]
    return dq


def boxes(path: Path) -> list[tuple[float, float, float, float, str]]:
    form = re.compile(r"box\(([\d.]+),([\d.]+),(\d+),(\d+),0\) # color=(\w+)")
    found = map(form.fullmatch, path.read_text("ascii").splitlines())
    return [(*map(float, match.groups()[:4]), match[5]) for match in found if match]  # type: ignore[misc]


def test_regions_are_boxes_in_image_coordinates(folder: Path) -> None:
    path = folder / "out.reg"
    assert summarize(flags()).write_regions(path) == 0
    # A block of 0-based columns 10 to 13 covers FITS pixels 11 to 14: its centre is 12.5.
    assert sorted(boxes(path)) == [
        (4.0, 13.0, 1, 1, "orange"),
        (12.5, 7.0, 4, 3, "red"),
        (15.5, 1.0, 30, 1, "blue"),
        (23.0, 16.0, 5, 1, "orange"),
    ]
    lines = path.read_text("ascii").splitlines()
    assert lines[0] == "# Region file format: DS9 version 4.1"
    assert "image" in lines


def test_regions_of_a_subarray_count_in_the_array(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags(), start=(101, 201))
    summarize(mask).write_regions(folder / "out.reg")
    assert (12.5, 7.0, 4, 3, "red") in boxes(folder / "out.reg")
    assert "x 101-130, y 201-220" in (folder / "out.reg").read_text()


def test_regions_can_be_read_by_astropy_regions(folder: Path) -> None:
    regions = pytest.importorskip("regions")
    mask = builders.make_mask(folder / "a;box(1,1,1,1,0).fits", flags())
    summarize(mask).write_regions(folder / "out.reg")
    read = regions.Regions.read(folder / "out.reg", format="ds9")
    covered = np.zeros(flags().shape, bool)
    for region in read:
        covered |= region.to_mask().to_image(covered.shape) > 0
    np.testing.assert_array_equal(covered, flags() != 0)


def test_the_limit_keeps_what_must_not_be_used_and_then_the_largest(folder: Path) -> None:
    dq = flags()
    summary = summarize(dq)
    assert summary.write_regions(folder / "two.reg", limit=2) == 2
    assert sorted(boxes(folder / "two.reg")) == [
        (12.5, 7.0, 4, 3, "red"),
        (23.0, 16.0, 5, 1, "orange"),
    ]
    assert "2 of 4 boxes, 2 smaller ones are left out" in (folder / "two.reg").read_text()
    with pytest.raises(ConfigError):
        summary.write_regions(folder / "none.reg", limit=0)


def test_the_command_line_says_what_it_leaves_out(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    shown = builders.invoke("inspect", mask, "--regions", folder / "out.reg", "--regions-limit", 3)
    assert shown.code == 0
    assert "1 boxes are left out" in shown.err


def test_pictures(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    shown = builders.invoke("inspect", mask, "--plot", folder / "p.png")
    assert shown.code == 0, shown.err
    assert (folder / "p.png").read_bytes().startswith(PNG)
    summarize(flags()).plot(folder / "p.svg")
    assert b"<svg" in (folder / "p.svg").read_bytes()
    summarize(np.zeros((5, 5), np.uint32)).plot(folder / "empty.png")
    with pytest.raises(OutputError):
        summarize(flags()).plot(folder / "p.png")
    summarize(flags()).plot(folder / "p.png", overwrite=True)
    with pytest.raises(ConfigError, match="ending"):
        summarize(flags()).plot(folder / "p.doc")


def test_the_map_shows_a_border_narrower_than_its_cells() -> None:
    from tmt_dq.core.geometry import Window
    from tmt_dq.report import panels
    from tmt_dq.report.figures import new_figure

    classes = np.zeros((1024, 1024), np.uint8)
    classes[:4] = classes[:, -4:] = 1
    axes = new_figure(4, 4, "").subplots()
    panels.draw_classes(axes, classes, Window.full(1024, 1024), [("a", "red")], title="", cells=64)
    [image] = axes.get_images()
    shown = np.asarray(image.get_array())
    assert shown.shape == (64, 64)
    assert shown[0].all()
    assert shown[:, -1].all()
    assert shown.sum() == 127


def test_a_single_bar_keeps_its_height() -> None:
    from tmt_dq.report import panels
    from tmt_dq.report.figures import new_figure

    axes = new_figure(4, 4, "").subplots()
    panels.draw_counts(axes, {"HOT": 1234567}, "flags")
    [bar] = axes.patches
    low, high = axes.get_ylim()
    assert bar.get_height() / (high - low) < 0.2
    assert [text.get_text().strip() for text in axes.texts] == ["1,234,567"]


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, its images and its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data")]


def test_the_page_needs_no_other_file(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    assert builders.invoke("inspect", mask, "--html", folder / "p.html").code == 0
    text = (folder / "p.html").read_text("utf-8")
    page = Page(text)
    [link] = page.links
    head, _, data = link.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(PNG)
    assert page.tags.count("table") == len(summarize(mask).tables())
    assert "url(" not in text
    assert "<script" not in text


def test_names_cannot_put_anything_into_the_page(folder: Path) -> None:
    mask = builders.make_mask(folder / "<b>$x$&.fits", flags())
    summarize(mask).write_html(folder / "p.html")
    page = Page((folder / "p.html").read_text("utf-8"))
    assert "b" not in page.tags
    assert "<b>" not in summarize(mask)._repr_html_()


def test_two_outputs_of_one_name_are_refused(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    out = folder / "out"
    shown = builders.invoke("inspect", mask, "--plot", out, "--html", out)
    assert shown.code == 10
    assert not out.exists()


def test_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    mask = builders.make_mask(folder / "m.fits", flags())
    assert builders.invoke("inspect", mask).code == 0
    shown = builders.invoke("inspect", mask, "--html", folder / "p.html")
    assert shown.code == 2
    assert "pip install" in shown.err
    assert not (folder / "p.html").exists()


def test_a_table_does_not_load_matplotlib_crds_or_jinja2(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    code = (
        "import sys; from tmt_dq.cli import run; "
        f"run(['inspect', {str(mask)!r}]); "
        "print([m for m in ('matplotlib', 'crds', 'jinja2') if m in sys.modules])"
    )
    done = builders.run_python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.large
def test_a_full_frame_takes_seconds(folder: Path) -> None:
    rng = np.random.default_rng(1)
    dq = np.zeros((4096, 4096), np.uint32)
    dq[rng.random(dq.shape) < 0.01] = FLAG["HOT"] | FLAG["DO_NOT_USE"]
    mask = builders.make_mask(folder / "m.fits", dq)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = builders.run_cli("inspect", mask)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    # 1.2 s where nothing else runs; processor time, because tests share their machine.
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 4
    assert summarize(mask).write_regions(folder / "m.reg") == 0
    assert len(boxes(folder / "m.reg")) > 150_000
    dense = summarize(np.indices((2048, 2048)).sum(axis=0, dtype=np.uint32) % 2)
    assert (dense.clusters, dense.defects) == (1, 2048 * 1024)
