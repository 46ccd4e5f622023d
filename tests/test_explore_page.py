"""The page to explore, in a browser: what it draws, tells, switches and jumps to."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import builders
from tmt_dq import diff, summarize

webdriver = pytest.importorskip("selenium.webdriver")
FLAG = builders.CONVENTION

MODEL = """
const models = [...Bokeh.documents[0].all_models]
const [plot, layers, readout] = ["Figure", "CheckboxGroup", "Div"].map(
  (type) => models.find((model) => model.type === type))
const tables = models.filter((model) => model.type === "DataTable")
const source = models.find((model) => model.data && "dw" in Object(model.data))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a Chromium without a display."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chromium
    chromium.quit()


@pytest.fixture
def open_page(browser: Any) -> Callable[..., Callable[[str], Any]]:
    """Return a function that opens a page and returns one that runs code in it."""

    def opened(path: Path, width: int = 1400) -> Callable[[str], Any]:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        browser.get(path.as_uri())

        def run(code: str) -> Any:
            done = "arguments[arguments.length - 1]"
            wait = f"{MODEL} {code}; setTimeout(() => {done}(answer()), 300)"
            return browser.execute_async_script(wait)

        run("const answer = () => null")
        severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert severe == []
        return run

    return opened


def flags() -> Any:
    dq = np.zeros((256, 256), np.uint32)
    dq[100:104, 50:55] = FLAG["HOT"] | FLAG["DO_NOT_USE"]
    dq[:, 200] = FLAG["DEAD"]
    return dq


INKED = "const answer = () => Array.from(source.data.image[0]).filter((value) => value).length"


def test_layers_are_switched_and_pixels_are_as_in_the_file(
    folder: Path, open_page: Callable[..., Callable[[str], Any]]
) -> None:
    run = open_page(summarize(flags()).write_html(folder / "p.html"))
    assert run("const answer = () => layers.labels") == ["HOT 20", "DEAD 256", "DO_NOT_USE 20"]
    place = "[source.data.x[0], source.data.y[0], source.data.dw[0], source.data.image[0].shape]"
    assert run(f"const answer = () => {place}") == [0.5, 0.5, 256, [256, 256]]
    assert run(INKED) == 276
    assert run(f"layers.active = [0]; {INKED}") == 20
    assert run(f"layers.active = []; {INKED}") == 0
    drawn = run(
        "layers.active = [0, 1, 2]; const answer = () => Array.from(source.data.image[0])"
        ".flatMap((value, place) => value ? [place] : [])"
    )
    np.testing.assert_array_equal(drawn, np.flatnonzero(flags()))


def test_a_row_of_a_table_jumps_to_its_place(
    folder: Path, open_page: Callable[..., Callable[[str], Any]]
) -> None:
    mask = builders.make_mask(folder / "m.fits", flags(), start=(1001, 2001))
    run = open_page(summarize(mask).write_html(folder / "p.html"))
    assert run("const answer = () => tables[0].source.data.pixels.length") == 2
    middle = (
        "const answer = () => [(plot.x_range.start + plot.x_range.end) / 2, "
        "(plot.y_range.start + plot.y_range.end) / 2, plot.x_range.end - plot.x_range.start]"
    )
    # Columns 1051 to 1055 and rows 2101 to 2104.
    assert run(f"tables[0].source.selected.indices = [1]; {middle}") == [1053, 2102.5, 60]
    x, _, _ = run(f"tables[1].source.selected.indices = [0]; {middle}")
    assert x == 1201


def test_the_pointer_tells_position_and_flags(
    browser: Any, folder: Path, open_page: Callable[..., Callable[[str], Any]]
) -> None:
    old = np.zeros((256, 256), np.uint32)
    run = open_page(diff(old, flags()).write_html(folder / "d.html"))
    run(
        "plot.x_range.setv({start: 40.5, end: 65.5}); plot.y_range.setv({start: 90.5, end: 115.5});"
        "const answer = () => null"
    )
    tell = (
        "const view = Bokeh.index.find_one(plot); const box = view.canvas_view.events_el"
        ".getBoundingClientRect(); const f = view.frame.bbox;"
        "const answer = () => [box.x + f.x_range.start + view.frame.x_scale.compute(X) - "
        "f.left, box.y + view.frame.y_scale.compute(Y)]"
    )
    for x, y, text in (
        (53, 102, "x 53, y 102: <b>GOOD → DO_NOT_USE HOT</b>"),
        (60, 110, "x 60, y 110"),
    ):
        px, py = run(tell.replace("X)", f"{x})").replace("Y)", f"{y})"))
        browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent", {"type": "mouseMoved", "x": px, "y": py}
        )
        assert run("const answer = () => readout.text") == text


@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_with_300_000_pixels_is_small_quick_and_not_clipped(
    folder: Path, open_page: Callable[..., Callable[[str], Any]], width: int
) -> None:
    rng = np.random.default_rng(1)
    dq = np.zeros((4096, 4096), np.uint32)
    dq[rng.integers(0, 4096, 300_000), rng.integers(0, 4096, 300_000)] = FLAG["HOT"]
    page = summarize(dq).write_html(folder / "p.html")
    assert page.stat().st_size < 8_000_000
    run = open_page(page, width)
    assert run("const answer = () => document.documentElement.scrollWidth") == width
    run(
        "window.start = performance.now(); layers.active = [];"
        "requestAnimationFrame(() => requestAnimationFrame("
        "() => { window.end = performance.now() }));"
        "const answer = () => null"
    )
    # 0.02 s where nothing else runs.
    assert 0 < run("const answer = () => window.end - window.start") < 2000
