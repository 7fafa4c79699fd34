"""The page in a real browser, inside a sandboxed frame, as Kubeflow's UI and notebooks show it."""

import html
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


def test_long_names_and_the_drift_s_tables_fold(drifted: str, tmp_path: Path) -> None:
    measured = sizes(drifted, tmp_path, 360)
    assert measured["scrollWidth"] <= 360
    assert measured["cut"] == []


@pytest.mark.parametrize("width", [360, SIDE_PANEL, 1400])
def test_the_page_is_not_wider_than_its_frame(original: Run, tmp_path: Path, width: int) -> None:
    found = sizes(original.html, tmp_path, width)
    assert found["scrollWidth"] <= found["innerWidth"]
    assert found["cut"] == []
    assert "claims" not in found["scrolled"]


def test_figures_are_whole_in_kubeflow_s_side_panel(original: Run, tmp_path: Path) -> None:
    assert sizes(original.html, tmp_path, SIDE_PANEL)["figures"] == 0
