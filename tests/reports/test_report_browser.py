"""The report's page in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import pytest

from reports.write import write_page
from tests.helpers.browser import Browser
from tests.helpers.reports import make_results, opened

pytestmark = pytest.mark.slow  # starts a browser

# The colour of each picture's corner, and of the page around it.
_PAPER = """
const corner = image => {
    const canvas = document.createElement('canvas')
    canvas.width = canvas.height = 8
    const context = canvas.getContext('2d')
    context.drawImage(image, 0, 0)
    return [...context.getImageData(2, 2, 1, 1).data].slice(0, 3).join(', ')
}
return [...document.images].map(corner).concat(getComputedStyle(document.body).backgroundColor.replace(/rgb.|.$/g, ''))
"""
_WIDTHS = "const root = document.documentElement; return [innerWidth, root.clientWidth, root.scrollWidth]"
_BOXES = "return [...document.querySelectorAll('.wide')].map(box => [box.offsetWidth, box.scrollWidth])"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    studies = [opened(make_results()), make_results(0.3, family="cnn1d-raw")]
    return write_page(studies, tmp_path_factory.mktemp("page") / "page.html").as_uri()


@pytest.mark.parametrize(("scheme", "paper"), [("light", "255, 255, 255"), ("dark", "13, 17, 23")])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_in_either_scheme(
    browser: Browser, page: str, width: int, scheme: str, paper: str
) -> None:
    narrow = width < 500
    driver = browser.driver
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": narrow}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    browser.open(page)
    driver.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    inner, client, scroll = driver.execute_script(_WIDTHS)
    assert (inner, scroll) == (width, client)
    boxes = driver.execute_script(_BOXES)
    assert all(box <= width for box, _ in boxes)
    assert any(content > box for box, content in boxes) or not narrow  # a wide table scrolls in its box
    assert driver.execute_script(_PAPER) == [paper] * 6  # five pictures and the page
    assert browser.complaints() == []
    # Others look at pages as they are.
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
