"""What a browser makes of a page: its width, its pictures, and what a keyboard and a screen reader find."""

import html
import json
import re
import subprocess

from conftest import typed

PROBE = """
const f = document.getElementById('f'), d = f.contentDocument, said = {};
const all = (what) => [...d.querySelectorAll(what)];
said.wide = d.documentElement.scrollWidth;
const outside = all('body *').filter(e => !e.closest('.scroll, .skip'));
said.beyond = outside.filter(e => e.getBoundingClientRect().right > f.clientWidth + 1)
  .length;
said.tablewide = all('table').filter(e => e.getBoundingClientRect().right > f.clientWidth + 1).length;
said.levels = all('h1, h2, h3, h4').map(e => +e.tagName[1]);
said.landmarks = ['body > header', 'main nav', 'body > main'].map(e => all(e).length);
said.named = all('section, nav, [role=region]').every(e => e.getAttribute('aria-label'));
said.pictures = all('img').length;
said.decoded = all('img').filter(e => e.naturalWidth > 0).length;
said.alts = all('img').map(e => e.alt);
said.tables = all('table').length;
said.captioned = all('table').filter(e => e.caption && e.caption.textContent.trim()).length;
said.unscoped = all('th').filter(e => !e.scope).length;
said.boxes = all('.scroll').filter(e => e.tabIndex === 0).length;
said.links = all('a').filter(e => !d.getElementById(e.hash.slice(1))).length;
said.skip = d.querySelector('a').className;
document.title = 'probe ' + JSON.stringify(said) + ' end';
"""


PAPER = 718
"""Width of the text on A4 with margins of 10 mm, CSS pixels."""


def probe_page(page, *, browser, width, folder):
    """Return what a headless browser sees of a page in a frame of that width; `PAPER` is with the style for print."""
    text = page.read_text()
    assert text.count("@media print {") == 1
    if width == PAPER:
        text = text.replace("@media print {", "@media all {")
    return probe(text, PROBE, browser=browser, width=width, folder=folder)


def probe(text, script, *, browser, width, folder):
    """Return what a script finds in a page in a frame of that width; it puts ``probe JSON end`` into the title."""
    inside = html.escape(text, quote=True)
    (folder / "probe.html").write_text(
        f"<meta charset=utf-8><iframe id=f style='width:{width}px;height:900px;border:0' srcdoc=\"{inside}\"></iframe>"
        f"<script>window.addEventListener('load', () => {{ {script} }});</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        typed(
            "{} --headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            "--window-size=1400,900 --dump-dom",
            browser,
            f"--user-data-dir={folder / 'profile'}",
            (folder / "probe.html").as_uri(),
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>probe (.*?) end</title>", done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))
