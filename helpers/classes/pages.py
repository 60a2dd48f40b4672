"""Write what was found of a class, for its instructor and its students.

Support code, for grade.py. What students wrote is in it only as text: no
markup, no formula of a spreadsheet, no name that leads to another folder.
"""

import csv
import io
import json
import re
from collections import Counter
from html import escape

from helpers.classes.judge import VERDICTS
from helpers.classes.similar import alike
from helpers.runs.files import write_whole

COLOURS = {
    "right": "#1b7837",
    "wrong": "#d95f02",
    "error": "#b2182b",
    "time-out": "#762a83",
    "import": "#2166ac",
    "blank": "#d9d9d9",
    "unreadable": "#252525",
}
MEANINGS = {
    "right": "all cases, with numbers of this term",
    "wrong": "a case came out otherwise",
    "error": "it raised an exception, or is not Python",
    "time-out": "it did not come to an end",
    "import": "it imports what the lesson may not",
    "blank": "not written",
    "unreadable": "no notebook, or none of a lesson",
}
MOST = 3  # diagnoses shown of a function
STYLE = """\
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2em .8em .2em 0; }
tr { border-top: 1px solid #ddd; }
svg { display: block; } code { white-space: nowrap; }
i { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""


def write(folder, results):
    """Write grades.csv, index.html, and feedback/ and gradescope/."""
    write_whole(folder / "grades.csv", as_csv(results))
    write_whole(folder / "index.html", as_html(results))
    students = {}
    for result in results:
        students.setdefault(result.student, []).append(result)
    for name, (student, own) in zip(file_names(students), students.items()):
        text = as_feedback(student, own)
        write_whole(folder / "feedback" / f"{name}.txt", text)
        text = json.dumps(as_gradescope(own), indent=1) + "\n"
        write_whole(folder / "gradescope" / name / "results.json", text)


def file_names(students):
    """Return a name for the files of each student; no two are the same."""
    found = []
    for student in students:
        name = re.sub(r"[^\w.-]+", "_", student).strip("._")[:80] or "student"
        same = [n for n in found if n.lower() == name.lower()]
        found.append(f"{name}-{len(found)}" if same else name)
    return found


def rows_of(results):
    """Yield (student, lesson, row) of all that was found."""
    for result in results:
        for row in result.rows:
            yield result.student, result.lesson, row


def as_csv(results):
    """Return one line a student and function."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["student", "lesson", "function", "verdict", "diagnosis"])
    for student, lesson, row in rows_of(results):
        table.writerow(map(as_cell, [student, lesson, *row]))
    return text.getvalue()


def as_cell(text):
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


# for a student


def as_feedback(student, results):
    """Return what a student is told."""
    lines = [student, ""]
    for result in results:
        count = Counter(row.verdict for row in result.rows)
        title = result.lesson or "what you handed in"
        lines += [f"{title}: {count['right']} of {len(result.rows)} right", ""]
        width = max(len(row.function) for row in result.rows) + 2
        for row in result.rows:
            said = f": {row.sentence}" if row.sentence else ""
            lines.append(f"  {row.function:<{width}}{row.verdict}{said}")
        lines.append("")
    used = {row.verdict for _, _, row in rows_of(results)}
    for verdict in (v for v in VERDICTS if v in used):
        lines.append(f"{verdict}: {MEANINGS[verdict]}")
    return "\n".join(lines) + "\n"


def as_gradescope(results):
    """Return the content of results.json, as Gradescope's autograder has it.

    One point a function.
    """
    tests = [
        {
            "name": f"{lesson} {row.function}".strip() or "the notebook",
            "score": int(row.verdict == "right"),
            "max_score": 1,
            "status": "passed" if row.verdict == "right" else "failed",
            "output_format": "text",
            "output": f"{row.verdict}: {row.sentence}".rstrip(": "),
        }
        for _, lesson, row in rows_of(results)
    ]
    return {"tests": tests}


# for the instructor


def as_html(results):
    """Return the page of a class: functions, students, whom to look at."""
    functions, students = {}, {}
    for student, lesson, row in rows_of(results):
        if row.function:
            functions.setdefault((lesson, row.function), []).append(row)
        students.setdefault(student, []).append((lesson, row))
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            f"<title>Grades</title><style>{STYLE}</style>",
            f"<h1>{len(students)} students</h1>",
            legend(),
            "<h2>Functions</h2>",
            *table(
                ("function", "students", "most often"),
                map(row_of_function, functions.items()),
            ),
            "<h2>Students</h2>",
            *table(
                ("student", "right", "functions", "not graded"),
                map(row_of_student, students.items()),
            ),
            "<h2>Alike</h2>",
            *alike_to_look_at(results),
            "</html>",
            "",
        ]
    )


def legend():
    """Return which colour is which verdict."""
    parts = [
        f'<i style="background:{colour}"></i>{verdict}'
        for verdict, colour in COLOURS.items()
    ]
    return f"<p>{''.join(parts)}</p>"


def table(titles, rows):
    """Yield the lines of a table whose cells are HTML."""
    heads = "".join(f"<th>{title}</th>" for title in titles)
    yield f"<table><tr>{heads}</tr>"
    for row in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in row)
        yield f"<tr>{cells}</tr>"
    yield "</table>"


def row_of_function(item):
    """Return a function, its bar, and its commonest diagnoses."""
    (lesson, name), rows = item
    said = Counter(
        f"{row.verdict}: {row.sentence}".rstrip(": ")
        for row in rows
        if row.verdict not in ("right", "blank")
    )
    most = [f"{n} × {escape(text)}" for text, n in said.most_common(MOST)]
    verdicts = [row.verdict for row in rows]
    title = f"{escape(lesson)}<br><code>{escape(name)}</code>"
    return title, bar(verdicts), "<br>".join(most)


def row_of_student(item):
    """Return a student, the share that is right, and a bar."""
    student, found = item
    rows = [row for _, row in found]
    right = sum(row.verdict == "right" for row in rows)
    graded = sum(bool(row.function) for row in rows)
    odd = [escape(row.sentence) for row in rows if not row.function]
    share = f"{right} of {graded}"
    verdicts = [row.verdict for row in rows]
    return escape(student), share, bar(verdicts), "<br>".join(odd)


def bar(verdicts, width=240, height=16):
    """Return a bar with a part for each verdict, in words too."""
    count, at, parts = Counter(verdicts), 0.0, []
    for verdict in (v for v in VERDICTS if count[v]):
        part = width * count[verdict] / len(verdicts)
        parts.append(
            f'<rect x="{at:.1f}" width="{part:.1f}" height="{height}" '
            f'fill="{COLOURS[verdict]}"/>'
        )
        at += part
    said = ", ".join(f"{count[v]} {v}" for v in VERDICTS if count[v])
    return (
        f'<svg width="{width}" height="{height}" role="img">'
        f"<title>{said}</title>{''.join(parts)}</svg>{said}"
    )


def alike_to_look_at(results):
    """Yield the pairs of students whose functions have the same trees."""
    yield (
        "<p>The same syntax tree, whatever the names, in functions where few "
        "of the class share one. A hint to look, and no verdict.</p>"
    )
    rows = [
        (escape(one), escape(other), escape(lesson), escape(", ".join(names)))
        for one, other, lesson, names in alike(results)
    ]
    if rows:
        yield from table(("student", "student", "lesson", "functions"), rows)
    else:
        yield "<p>None.</p>"
