"""Hand out a course and grade a class, from the command line.

Support code, for lab/jobs.py. A job gets the words behind its name.
"""

import argparse
from collections import Counter

RIGHTS = """\
What students wrote runs on this machine, behind limits of time, memory and
files and without network. It is a fence against accidents and tricks, not
against an attack on the system: grade on a machine or in a container that
holds nothing else of worth."""


def course(words):
    """Write what a class gets: the lessons to fill in, without solutions."""
    from helpers.classes.course import write_course

    parser = argparse.ArgumentParser("python -m helpers course")
    parser.add_argument("to", metavar="FOLDER")
    parser.add_argument("--term", default="", metavar="2027-spring")
    args = parser.parse_args(words)
    write_course(args.to, args.term)


def grade(words):
    """Grade what a class handed in."""
    from helpers.classes.grade import SECONDS, grade

    parser = argparse.ArgumentParser(
        "python -m helpers grade", description=RIGHTS
    )
    add = parser.add_argument
    add("submissions", metavar="FOLDER")
    add("--to", default="grades", metavar="FOLDER")
    add("--term", default="", metavar="2027-spring")
    add("--seconds", type=int, default=SECONDS, help="a function may compute")
    args = parser.parse_args(words)
    results = grade(args.submissions, args.to, args.term, seconds=args.seconds)
    count = Counter(row.verdict for r in results for row in r.rows)
    said = ", ".join(f"{n} {verdict}" for verdict, n in count.most_common())
    print(f"{len(results)} notebooks: {said}")
    print(f"written: {args.to}/grades.csv, index.html, feedback, gradescope")
