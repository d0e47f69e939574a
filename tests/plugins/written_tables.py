"""Tables of each kind that bchisto reads, and what its commands print of them."""

import csv
import io


def table(folder, kind, rows, merge=()):
    """Write rows of texts, numbers or dates as a table of a kind; `merge` has (column, first line, last line)."""
    path = folder / f"t.{kind if kind == 'xlsx' else 'csv'}"
    if kind == "xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in rows:
            book.active.append(row)
        for column, first, last in merge:
            book.active.merge_cells(start_row=first, end_row=last, start_column=column + 1, end_column=column + 1)
        book.save(path)
    else:
        text = io.StringIO()
        mark = {"semicolons": ";", "tabs": "\t", "UTF-16": "\t"}.get(kind, ",")
        csv.writer(text, delimiter=mark, lineterminator="\r\n").writerows(rows)
        path.write_bytes(text.getvalue().encode("utf-16" if kind == "UTF-16" else "utf-8-sig"))
    return path


def rows_of(path):
    """Return the rows of a CSV file, each a dict."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def listed(cli, *arguments):
    """Return the rows that ``data list`` prints, by the name of the image, and what it says."""
    code, out, err = cli("data", "list", "--images", *arguments)
    assert code == 0, err
    return {row["image_id"]: row for row in csv.DictReader(io.StringIO(out))}, err


def checked(cli, *arguments):
    code, out, err = cli("data", "check", "--no-copies", "--images", *arguments)
    return code, " ".join((out + err).split())
