"""Tables as .csv files: the log of a run, and data/experiments.

Support code. `python -m helpers.runs.tables` makes what is missing in
data/experiments.
"""

import csv
import io

from helpers import DATA
from helpers.runs.files import write_whole

FOLDER = DATA / "experiments"


def write_rows(path, rows, names=None):
    """Write a list of dicts as a table, .csv.

    names: the columns, if not the keys of the first row; what a row lacks
    stays empty.
    """
    table = io.StringIO(newline="")
    names = names or (list(rows[0]) if rows else [])
    writer = csv.DictWriter(table, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, table.getvalue())


def number(text):
    """Return text as a float, or as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def read_rows(path, convert=number):
    """Return the rows of a table as dicts, numbers as floats.

    convert takes each text instead, such as str.
    """
    with open(path, encoding="utf-8", newline="") as file:
        return [
            {name: convert(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def read_table(name):
    """Return the rows of data/experiments/name.csv, numbers as floats."""
    return read_rows(FOLDER / f"{name}.csv")
