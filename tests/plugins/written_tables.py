"""Tables of each kind that bchisto reads, and what its commands print of them."""

import csv
import html
import io
import json
import re
import tempfile
from pathlib import Path

import numpy as np

HEADER = "image_id,label,group,fold,p_benign,p_malignant,predicted,confidence,uncertain"
"""Columns of what a cross-validation of two classes predicted."""


def table(folder, kind, rows, merge=()):
    """Write rows of texts, numbers or dates as a table of a kind; `merge` has (column, first line, last line)."""
    path = folder / f"t.{kind if kind == 'xlsx' else 'csv'}"
    if kind == "xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in rows:
            book.active.append(row)
        for column, first, last in merge:
            book.active.merge_cells(
                start_row=first, end_row=last, start_column=column + 1, end_column=column + 1
            )
        book.save(path)
    else:
        text = io.StringIO()
        mark = {"semicolons": ";", "tabs": "\t"}.get(kind, ",")
        csv.writer(text, delimiter=mark, lineterminator="\r\n").writerows(rows)
        path.write_bytes(text.getvalue().encode("utf-8-sig"))
    return path


def lines(path, header, rows):
    """Write a header and rows of cells as a CSV file; return it."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def write_lines(path, *texts):
    """Write lines of text; return their file."""
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def flat(text):
    """Return a text in one line."""
    return " ".join(text.split())


def read_json(path):
    return json.loads(path.read_text())


def write_json(path, content):
    path.write_text(json.dumps(content))


def rows_of(path):
    """Return the rows of a CSV file, each a dict."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def written(path, rows):
    """Write rows, each a dict, as a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def fill(manifest, label="gutartig"):
    """Give a label to all images of a manifest that have none; return its rows."""
    rows = [{**row, "label": row["label"] or label} for row in rows_of(manifest)]
    written(manifest, rows)
    return rows


def listed(cli, *arguments):
    """Return the rows that ``data check --table -`` prints, by the name of the image, and what it says."""
    code, out, err = cli("data check --table - --images", *arguments)
    assert code == 0, err
    return {row["image_id"]: row for row in csv.DictReader(io.StringIO(out))}, err


def groups_in(cli, images, *options):
    """Return the group of each image, and what is said of them."""
    rows, err = listed(cli, images, *options)
    return {name: row["group"] for name, row in rows.items()}, err


def unlisted(cli, *arguments):
    """Return what ``data check --table -`` says, which is to be refused."""
    code, _, err = cli("data check --table - --images", *arguments)
    assert code == 2, err
    return err


def checked(cli, *arguments):
    """Return the exit code of ``data check``, and all that it says, on one line; stains are checked if one is given."""
    code, out, err = cli("data check --no-timing --no-copies --stain none --images", *arguments)
    return code, " ".join((out + err).split())


def findings_of(cli, text, *arguments):
    """Return the exit code of ``data check``, and its findings of which the message holds a text."""
    code, out, _ = cli("data check --no-timing --images", *arguments, "--json")
    findings = json.loads(out)["findings"]
    return code, [finding for finding in findings if text in finding["message"]]


def predictions(scores, labels, classes=("benign", "malignant"), **known):
    """Return a table of predictions by probabilities, or by scores of the second class.

    Labels are names or places of classes; rows have folds, groups and ids only where these are given.
    """
    from bchisto.evaluate import PredictionTable

    scores = np.asarray(scores, dtype=float)
    shares = scores if scores.ndim == 2 else np.c_[1 - scores, scores]
    rows = {
        "image_ids": [f"i{k}" for k in range(len(shares))],
        **dict.fromkeys(("folds", "groups"), [None] * len(shares)),
    }
    numbers = {name: number for number, name in enumerate(classes)}
    fields = {"name": "t", **rows, **known}
    return PredictionTable(  # of any numbers, which `from_probabilities` refuses
        classes=tuple(classes),
        labels=np.array([numbers.get(label, label) for label in labels], dtype=np.int64),
        probabilities=shares,
        predicted=shares.argmax(axis=1),
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        },
    )


def called_table(labels, predicted, classes="ab", groups=()):
    """Return a table of predicted classes without probabilities, by the places of classes."""
    from dataclasses import replace

    table = predictions(np.eye(len(classes))[predicted], labels, classes)
    return replace(table, probabilities=None, groups=tuple(groups) or table.groups)


def saved(table, path):
    """Write a table of predictions; return its file."""
    from bchisto.evaluate import write_predictions

    labels = [table.classes[label] for label in table.labels]
    rows = list(
        zip(
            table.image_ids,
            labels,
            table.groups,
            ("" if f is None else f for f in table.folds),
            strict=True,
        )
    )
    write_predictions(path, classes=table.classes, rows=rows, probabilities=table.probabilities)
    return path


def right_at(rate, *, patients=12, per=2, folds=3, name="t", seed=0, known=True):
    """Two classes of as many patients each, right at a rate; folds keep patients whole."""
    rng = np.random.default_rng(seed)
    count = patients * per
    patient = np.arange(count) // per
    labels = patient % 2
    hits = rng.random(count) < rate
    scores = np.where(hits == (labels == 1), 0.6, 0.3) + 0.1 * rng.random(count)
    return predictions(
        scores,
        labels,
        name=name,
        folds=[int(k) % folds + 1 for k in patient] if folds else [None] * count,
        groups=[f"p{k}" if known else None for k in patient],
        protocol="folds of a test",
    )


def panels_of(*tables, run=None, chosen=True):
    """Measure tables, as a choice among them unless `chosen` is false; malignant is the positive class."""
    from bchisto.evaluate import Panel, choices_of, measure

    metrics = [measure(each, bootstrap=0) for each in tables]
    panels = [Panel(each, m, run=run or {}) for each, m in zip(tables, metrics, strict=True)]
    if chosen:
        choices = choices_of(tables, metrics)
        return [panel.chosen(choice) for panel, choice in zip(panels, choices, strict=True)]
    return panels


def visible(page):
    """Return what a reader sees of a page, in one line, without its figures."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>|data:image[^\"]*", " ", page)))


def report_of(panels, **more):
    """Return a report as a page, and what of it a reader sees."""
    from bchisto.evaluate.report import write_report

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.html"
        write_report(path, title="x", panels=panels, **more)
        page = path.read_text()
        form = path.with_name("tripod.html").read_text()
    return page, visible(page + form.partition("<main")[2])


def report_text(*tables):
    """Return what a reader sees of the report of tables."""
    return report_of(panels_of(*tables))[1]
