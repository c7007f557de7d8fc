"""A page as a real browser sees it: its widths, its console, what of its plots sticks out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)

# The page is looked at in frames of both widths; what was found becomes this document's text.
_WRAPPER = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const found = {widths: {}, plots: 0, outside: 0};
const look = width => new Promise(done => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    const page = frame.contentDocument;
    found.widths[width] = page.documentElement.scrollWidth;
    const plots = [...page.querySelectorAll("svg[role=img]")];
    found.plots = plots.length;
    for (const plot of plots) {
      const box = plot.getBoundingClientRect();
      for (const text of plot.querySelectorAll("text")) {
        const own = text.getBoundingClientRect();
        if (own.left < box.left - 9 || own.right > box.right + 9) found.outside += 1;
      }
    }
    done();
  };
  frame.src = "page.html";
  document.body.append(frame);
});
(async () => {
  await look(360); await look(1280);
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = "FOUND" + JSON.stringify(found) + "END";
})();
</script>"""


class Seen(NamedTuple):
    """What a browser made of a page.

    widths    width of the window → what the page needs
    console   what it complained of
    outside   texts of plots that stick out of these, in both widths together
    """

    widths: dict[int, int]
    console: list[str]
    plots: int
    outside: int


def seen(address: str, folder: Path) -> Seen:
    """Look at `page.html`, which a server at `address` gives from `folder`."""
    assert CHROMIUM is not None
    (folder / "wrapper.html").write_text(_WRAPPER, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--enable-logging=stderr", "--window-size=1400,900",
            "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--timeout=60000",
            "--virtual-time-budget=20000", "--dump-dom", f"{address}/wrapper.html",
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = re.search(r"FOUND(\{.*\})END", done.stdout.replace("&amp;", "&"))
    assert told is not None, done.stderr[-2000:]
    found = json.loads(told[1])
    console = re.findall(r"CONSOLE.*", done.stderr)
    widths = {int(width): value for width, value in found["widths"].items()}
    return Seen(widths, console, found["plots"], found["outside"])
