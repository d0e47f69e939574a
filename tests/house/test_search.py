"""The search of the built documentation finds what people type, in their words."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REPOSITORY / "pyproject.toml").is_file(), reason="needs the repository"),
]

ANSWERS = {
    "heat map": "explain",
    "uncertain": "predict",
    "install": "install",
    "whole slide": "faq",
    "cite": "faq",
    "segmentation": "faq",
    "windows": "install",
    "GDPR": "faq",
    "near-duplicates": "own-images",
    "confidence interval": "evaluation",
    "cluster": "cluster",
    "slurm": "cluster",
    "docker": "install",
    "error messages": "troubleshooting",
}
"""Query to the page that must be among the first three results."""


def test_search_finds_the_words_of_the_field(browser, tmp_path):
    pytest.importorskip("sphinx")
    from playwright.sync_api import sync_playwright

    site = tmp_path / "site"
    build = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(REPOSITORY / "docs"), str(site)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    missed = {}
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page()
        for query, answer in ANSWERS.items():
            page.goto(f"{(site / 'search.html').as_uri()}?q={query.replace(' ', '+')}")
            page.wait_for_selector("#search-results ul.search li a")
            page.wait_for_function(
                "document.querySelector('#search-results .search-summary').innerText.includes('found')"
            )
            links = page.eval_on_selector_all(
                "#search-results ul.search li > a", "links => links.map(link => link.href)"
            )
            pages = [link.rpartition("/")[2].partition(".html")[0] for link in links]
            if answer not in pages[:3]:
                missed[query] = pages[:4]
        opened.close()
    assert not missed
