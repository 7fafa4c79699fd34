"""The page in a real browser: inside a sandboxed frame, as Kubeflow's UI and notebooks show it, and by itself."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium, said
from made_up_run import Run

from realfeatures.report.page import write_report
from realfeatures.results.earlier import parse_results

pytestmark = list(needs_chromium)

SIDE_PANEL = 527
"""Width in pixels of the panel in which Kubeflow's UI shows a task's report."""

LINKS = """<script>
const found = [];
addEventListener("pagehide", () => parent.postMessage(found, "*"));  // A link led out of the page.
addEventListener("load", async () => {
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  for (const link of document.querySelectorAll("a[href^='#']")) {
    link.scrollIntoView({ block: "center" });
    const { x, y, width, height } = link.getBoundingClientRect();
    const shown = document.elementFromPoint(x + width / 2, y + height / 2) === link;
    link.click();
    await wait(50);
    const name = link.getAttribute("href").slice(1);
    const { top } = document.getElementById(name).getBoundingClientRect();
    const inView = top >= -1 && top < innerHeight;
    found.push({ name, shown, inView, letters: document.body.innerText.length, hash: location.hash });
  }
  await wait(500);
  parent.postMessage(found, "*");
});
</script>
"""

SIZES = """<script>
addEventListener("load", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  const right = (element) => Math.floor(element.getBoundingClientRect().right);
  const wider = (box) => box.scrollWidth > box.clientWidth;
  const named = (element) => `${element.tagName} ${element.textContent.slice(0, 40)}`;
  const all = [...document.body.querySelectorAll("*")];
  const boxes = [...document.querySelectorAll(".scroll")];
  parent.postMessage({
    innerWidth,
    scrollWidth: document.documentElement.scrollWidth,
    cut: all.filter((one) => right(one) > innerWidth && !one.parentElement.closest(".scroll")).map(named),
    scrolled: boxes.filter(wider).map((box) => box.closest("section").className || "provenance"),
    figures: boxes.filter((box) => box.querySelector("svg, img") && wider(box)).length,
  }, "*");
});
</script>
"""


def with_script(page: str, script: str) -> str:
    return page.replace("</body>", f"{script}</body>")


def framed(page: str, width: int) -> str:
    """Return a page with the frame in which Kubeflow's UI and `Results` in a notebook show a report."""
    inner = html.escape(page, quote=True)
    frame = f'<iframe srcdoc="{inner}" sandbox="allow-scripts" width="{width}" height="800" frameborder="0"></iframe>'
    return f"<!doctype html><title>outer page</title>{frame}"


def links_of(page: str) -> list[str]:
    return re.findall(r'<a href="#([^"]+)"', page)


def sizes(page: str, profile: Path, width: int) -> dict[str, Any]:
    found = said(framed(with_script(page, SIZES), width), profile)
    assert found["innerWidth"] == width
    return found


@pytest.fixture
def drifted(run: Run) -> str:
    """The page of a run with a long name, which did not reproduce an earlier one and warns of it."""
    earlier = run.report()
    earlier["rows"][0]["value"], earlier["claims"][0]["verdict"] = 0.5, "not tested"
    earlier["device"]["processor"] = "another processor, " * 5
    write_report(
        run.out,
        preset=run.preset,
        seeds=run.seeds,
        grid=run.grid,
        addresses=run.addresses,
        earlier=[parse_results(earlier, name="nightly-1")],
        name="nightly-" + "2" * 80,
    )
    return run.html


@pytest.mark.parametrize("width", [SIDE_PANEL, 1400])
def test_each_link_scrolls_to_its_section_inside_a_sandboxed_frame(original: Run, tmp_path: Path, width: int) -> None:
    found = said(framed(with_script(original.html, LINKS), width), tmp_path)
    assert [link["name"] for link in found] == links_of(original.html)
    assert len(found) >= 12
    assert all(link["shown"] and link["inView"] and link["letters"] > 1000 for link in found), found


def test_the_warning_s_link_leads_to_the_drift_and_long_names_fold(drifted: str, tmp_path: Path) -> None:
    found = said(framed(with_script(drifted, LINKS), SIDE_PANEL), tmp_path / "links")
    assert [link["name"] for link in found].count("drift") == 2  # in the contents, and in the warning
    assert all(link["shown"] and link["inView"] for link in found), found
    measured = sizes(drifted, tmp_path / "sizes", 360)
    assert measured["scrollWidth"] <= 360
    assert measured["cut"] == []


def test_each_link_of_the_page_by_itself_is_followed_by_the_browser(original: Run, tmp_path: Path) -> None:
    found = said(with_script(original.html, LINKS), tmp_path)
    assert [link["hash"] for link in found] == [f"#{name}" for name in links_of(original.html)]
    assert all(link["shown"] and link["inView"] for link in found), found


@pytest.mark.parametrize("width", [360, SIDE_PANEL, 1400])
def test_the_page_is_not_wider_than_its_frame(original: Run, tmp_path: Path, width: int) -> None:
    found = sizes(original.html, tmp_path, width)
    assert found["scrollWidth"] <= found["innerWidth"]
    assert found["cut"] == []
    assert "claims" not in found["scrolled"]


def test_figures_are_whole_in_kubeflow_s_side_panel(original: Run, tmp_path: Path) -> None:
    assert sizes(original.html, tmp_path, SIDE_PANEL)["figures"] == 0
