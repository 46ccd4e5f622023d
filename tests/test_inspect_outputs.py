"""Pictures, pages and DS9 regions of a summary."""

import html.parser
import re
import sys
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from tmt_dq import diff, summarize
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


RED, ORANGE, GREY = "#a50f15", "#e69f00", "#8c96a0"


def boxes(path: Path) -> list[tuple[float, float, float, float, str]]:
    form = re.compile(r"box\(([\d.]+),([\d.]+),(\d+),(\d+),0\) # color=(#\w+) tag=\{[^}]+\}")
    found = map(form.fullmatch, path.read_text("ascii").splitlines())
    return [(*map(float, match.groups()[:4]), match[5]) for match in found if match]  # type: ignore[misc]


def test_regions_are_boxes_in_image_coordinates(folder: Path) -> None:
    path = folder / "out.reg"
    assert summarize(flags()).write_regions(path) == path
    # A block of 0-based columns 10 to 13 covers FITS pixels 11 to 14: its centre is 12.5.
    assert sorted(boxes(path)) == [
        (4.0, 13.0, 1, 1, ORANGE),
        (12.5, 7.0, 4, 3, RED),
        (15.5, 1.0, 30, 1, GREY),
        (23.0, 16.0, 5, 1, ORANGE),
    ]
    lines = path.read_text("ascii").splitlines()
    assert lines[0] == "# Region file format: DS9 version 4.1"
    assert "image" in lines


def test_regions_by_flag_have_its_colour_and_name(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    builders.invoke("inspect", mask, "--regions", folder / "r", "--color-by", "flag", code=0)
    lines = (folder / "r").read_text().splitlines()
    assert [line for line in lines if line.startswith("box")] == [
        "box(4,13,1,1,0) # color=#e69f00 tag={WARM}",
        "box(23,16,5,1,0) # color=#0072b2 tag={DEAD}",
        "box(12.5,7,4,3,0) # color=#d55e00 tag={HOT}",
        "box(15.5,1,30,1,0) # color=#8c96a0 tag={REFERENCE_PIXEL}",
    ]


def test_regions_of_a_subarray_count_in_the_array(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags(), start=(101, 201))
    summarize(mask).write_regions(folder / "out.reg")
    assert (12.5, 7.0, 4, 3, RED) in boxes(folder / "out.reg")
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


def test_pictures(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    builders.invoke("inspect", mask, "--plot", folder / "p.png", "--color-by", "flag", code=0)
    assert (folder / "p.png").read_bytes().startswith(PNG)
    for name, start in (("p.svg", b"<?xml"), ("p.pdf", b"%PDF")):
        summarize(flags()).plot(folder / name)
        assert (folder / name).read_bytes().startswith(start)
    with pytest.raises(OutputError):
        summarize(flags()).plot(folder / "p.png")
    summarize(flags()).plot(folder / "p.png", overwrite=True)
    with pytest.raises(ConfigError, match="ending"):
        summarize(flags()).plot(folder / "p.doc")
    with pytest.raises(ConfigError, match="color_by"):
        summarize(flags()).plot(folder / "q.png", color_by="pixel")


def titles(figure: Any) -> list[str]:
    return [axes.get_title("left") for axes in figure.axes]


def test_panels_without_anything_are_not_drawn() -> None:
    assert titles(summarize(np.zeros((70, 80), np.uint32)).figure()) == ["flagged pixels"]
    border = np.zeros((70, 80), np.uint32)
    border[0] = FLAG["REFERENCE_PIXEL"]
    assert titles(summarize(border).figure()) == ["flagged pixels", "", ""]
    dq = np.zeros((70, 130), np.uint32)
    dq[3, 4], dq[5, 6] = FLAG["HOT"], FLAG["DEAD"]
    assert {"HOT 1", "DEAD 1", "defects, % of 3 × 3 pixels"} <= set(titles(summarize(dq).figure()))


def test_axes_have_labels_and_dots_are_whole_pixels_of_the_screen() -> None:
    dq = np.zeros((300, 1500), np.uint32)
    dq[7, 1400], dq[:, 33] = FLAG["HOT"], FLAG["DEAD"]
    figure = summarize(dq).figure(color_by="flag")
    maps = [axes for axes in figure.axes if axes.get_images()]
    assert len(maps) == 4
    for axes in maps:
        [image] = axes.get_images()
        rows, columns = image.get_array().shape[:2]
        box = axes.get_window_extent()
        assert box.width / columns == pytest.approx(round(box.width / columns))
        assert box.height / rows == pytest.approx(round(box.height / rows))
        assert axes.get_xlabel() == "x (detector pixel)"
        assert axes.get_xlim()[0] == 0.5
    assert all(axes.get_ylabel() or not axes.get_yticks().size for axes in maps)


def test_nothing_of_a_fully_flagged_picture_overlaps_or_is_cut() -> None:
    figure = summarize(np.full((256, 256), FLAG["HOT"] | FLAG["DO_NOT_USE"])).figure()
    figure.draw_without_rendering()
    whole, *bars, density, colours, _, _ = figure.axes
    marks = max(text.get_window_extent().x1 for text in whole.texts)
    assert marks < density.yaxis.label.get_window_extent().x0
    assert [label.get_text() for label in colours.get_yticklabels()] == ["100 %"]
    for axes in (*bars, colours):
        assert axes.get_tightbbox().x1 <= figure.bbox.x1


flagged = hnp.arrays(np.uint8, (13, 9), elements=st.integers(0, 2))


@given(flagged, st.integers(1, 5))
def test_ink_is_true_to_the_share_that_is_flagged(pixels: npt.NDArray[np.uint8], cell: int) -> None:
    from tmt_dq.core.geometry import Window
    from tmt_dq.report.colours import Classes
    from tmt_dq.report.maps import shade

    window = Window.full(*pixels.shape)
    image = shade(Classes(pixels, window, ("a", "b"), ("#ff0000", "#0000ff")), cell)
    for row, column in np.ndindex(image.shape[:2]):
        part = pixels[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        red, green, blue, ink = image[row, column]
        share = np.count_nonzero(part) / part.size
        assert ink == pytest.approx(share**0.3)
        assert (ink == 1) == (share == 1)
        if share:
            assert (red, green) == (pytest.approx(np.mean(part[part > 0] == 1)), 0)
            assert red + blue == pytest.approx(1)


def test_few_dots_are_enlarged_and_a_bad_column_is_named() -> None:
    dq = np.zeros((2500, 2500), np.uint32)
    dq[1000, 1000] = FLAG["HOT"]
    [image] = summarize(dq).figure().axes[0].get_images()
    assert np.count_nonzero(np.asarray(image.get_array())[..., 3]) == 25
    dq[:, 41] = FLAG["DEAD"]
    axes = summarize(dq).figure().axes[0]
    assert [text.get_text() for text in axes.texts] == ["42"]


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, and its tags."""

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
    other = builders.make_mask(folder / "n.fits", 2 * flags())
    assert builders.invoke("inspect", mask, "--html", folder / "p.html").code == 0
    assert builders.invoke("diff", mask, other, "--html", folder / "d.html").code == 1
    for name, report in (("p.html", summarize(mask)), ("d.html", diff(mask, other))):
        page = Page((folder / name).read_text("utf-8"))
        assert page.links == []
        assert page.tags.count("table") == len(report.tables())


@pytest.mark.parametrize("dq", [np.zeros((20, 30), np.uint32), flags()])
def test_the_heading_of_layers_is_over_layers(folder: Path, dq: npt.NDArray[np.uint32]) -> None:
    summarize(dq).write_html(folder / "p.html")
    assert ("<h2>Layers</h2>" in (folder / "p.html").read_text("utf-8")) == dq.any()


def test_names_cannot_put_anything_into_the_page(folder: Path) -> None:
    mask = builders.make_mask(folder / "<b>$x$&.fits", flags())
    summarize(mask).write_html(folder / "p.html")
    page = Page((folder / "p.html").read_text("utf-8"))
    assert "b" not in page.tags
    assert "<b>" not in summarize(mask)._repr_html_()


def test_a_page_of_too_many_pixels_tells_what_it_leaves_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmt_dq.report.page._MARKS", 3)
    summarize(flags()).write_html(folder / "p.html")
    assert "the 1 smallest groups of equal pixels are left out" in (folder / "p.html").read_text()


def test_two_outputs_of_one_name_are_refused(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    out = folder / "out"
    builders.invoke("inspect", mask, "--plot", out, "--html", out, code=10)
    assert not out.exists()


@pytest.mark.parametrize(
    ("module", "option"), [("matplotlib.figure", "--plot"), ("bokeh.embed", "--html")]
)
def test_without_the_libraries_of_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, option: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    mask = builders.make_mask(folder / "m.fits", flags())
    assert builders.invoke("inspect", mask).code == 0
    shown = builders.invoke("inspect", mask, option, folder / "p", code=2)
    assert "pip install" in shown.err
    assert not (folder / "p").exists()


def test_a_table_does_not_load_what_it_does_not_need(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags())
    code = (
        "import sys; from tmt_dq.cli import run; "
        f"run(['inspect', {str(mask)!r}]); "
        "print([m for m in ('matplotlib', 'bokeh', 'crds', 'jinja2') if m in sys.modules])"
    )
    done = builders.run_python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
