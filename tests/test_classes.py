"""What a class handed in: each row as expected, and nothing else touched.

The class is classroom.py's. A small one is graded here; the hundred with
`make classroom`.
"""

import csv
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import classroom
import numpy as np
import pytest

from helpers.classes import grade, judge, pages, submissions, wire
from helpers.classes.judge import Row, clean, seed_of
from helpers.classes.sandbox import NO_ANSWER
from helpers.classes.similar import alike, tree_of
from helpers.lab import jobs

pytest.importorskip("resource")  # Linux and macOS have limits
SECONDS = 2
ORDER = {"not right": ("wrong", "error")}


def make(folder, n):
    """Return a class of n in a folder, and what has to come of it."""
    outside = folder / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)  # anyone could write there
    (outside / "canary").write_text("sings")
    return classroom.make_class(folder / "class", n, outside)


def rows_of(path):
    """Return {student: {function: verdict}} of grades.csv."""
    found = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            verdicts = found.setdefault(row["student"], {})
            verdicts[row["function"]] = row["verdict"]
    return found


def assert_graded(folder, expected):
    """Compare grades.csv with what has to come, row by row."""
    rows, wrong = rows_of(folder / "grades" / "grades.csv"), []
    assert rows.keys() == expected.keys()
    for student, verdicts in rows.items():
        wanted = expected[student]
        assert verdicts.keys() >= wanted.keys()
        for name, verdict in verdicts.items():
            want = wanted.get(name, "right")
            if verdict not in ORDER.get(want, (want,)):
                wrong.append(f"{student} {name}: {verdict}, not {want}")
    assert not wrong, "\n".join(wrong)
    outside = folder / "outside"
    assert [path.name for path in outside.iterdir()] == ["canary"]
    assert (outside / "canary").read_text() == "sings"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Grade a small class once."""
    folder = tmp_path_factory.mktemp("small")
    expected = make(folder, 9)
    results = grade.grade(folder / "class", folder / "grades", "t", 2, SECONDS)
    return folder, expected, results


def test_every_row_of_a_small_class_is_as_expected(small):
    folder, expected, _ = small
    assert_graded(folder, expected)


def test_a_second_run_takes_what_was_kept_and_says_the_same(small):
    folder, _, results = small
    before = {
        path: path.read_bytes()
        for path in (folder / "grades").rglob("*")
        if path.is_file()
    }
    kept = sorted((folder / "grades" / grade.KEPT).iterdir())
    kept = [path for path in kept if "time-out" not in path.read_text()]
    kept[0].unlink()  # as if the run had been stopped there
    kept[1].write_text("{half")
    start = time.monotonic()
    again = grade.grade(folder / "class", folder / "grades", "t", 2, SECONDS)
    assert time.monotonic() - start < 60
    assert again == results
    for path, content in before.items():
        assert path.read_bytes() == content, path.name


def test_what_is_written(small):
    folder, expected, _ = small
    page = (folder / "grades" / "index.html").read_text()
    assert "9 students" in page and "<svg" in page
    assert page.count("not allowed: helpers.attention") == 1
    feedback = sorted((folder / "grades" / "feedback").iterdir())
    assert len(feedback) == len(expected)
    assert "imports what the lesson may not" in feedback[0].read_text()
    for path in (folder / "grades" / "gradescope").glob("*/results.json"):
        tests = json.loads(path.read_text())["tests"]
        assert all(t["score"] in (0, 1) == t["max_score"] or t for t in tests)
        assert {t["status"] for t in tests} <= {"passed", "failed"}


@pytest.mark.classroom
@pytest.mark.slow
def test_every_row_of_a_class_of_a_hundred_is_as_expected(tmp_path):
    expected = make(tmp_path, 100)
    start = time.monotonic()
    grade.grade(tmp_path / "class", tmp_path / "grades", "2027-spring")
    seconds = time.monotonic() - start
    print(f"a class of {len(expected)}: {seconds:.0f} s")
    assert_graded(tmp_path, expected)
    assert len(expected) == 100 and seconds < 600


# names, files


def test_students_are_found_as_platforms_name_them(tmp_path):
    names = {
        "doejane_12345_678_01_causal_mask.ipynb": "doejane_12345",
        "roejo_LATE_23456_789_work-1.ipynb": "roejo_23456",
        "Ann Lee_901_assignsubmission_file/work.ipynb": "Ann Lee_901",
        "submission_77/deep/er/01_causal_mask.ipynb": "submission_77",
        "max-01_causal_mask.ipynb": "max",
        "kim.ipynb": "kim",
    }
    for name in [*names, ".hidden.ipynb", "kim/.ipynb_checkpoints/x.ipynb"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.ipynb").symlink_to("/etc/passwd")
    found = submissions.find_submissions(tmp_path)
    paths = {s.path and s.path.relative_to(tmp_path).as_posix() for s in found}
    assert paths == {*names, None}  # the folder of kim holds none
    for submission in found:
        if submission.path:
            name = submission.path.relative_to(tmp_path).as_posix()
            assert submission.student == names[name]


def test_of_several_notebooks_of_a_lesson_the_last_counts():
    results = [
        grade.Result("a", "01", [Row("f", "wrong")], {}),
        grade.Result("a", "01", [Row("f", "right")], {}),
        grade.Result("a", "", [Row("", "unreadable")], {}),
        grade.Result("b", "", [Row("", "unreadable")], {}),
    ]
    assert grade.only_last(results) == [results[1], results[3]]


@pytest.mark.parametrize("title", classroom.FILES)
def test_what_is_no_notebook_is_one_sentence(title, tmp_path):
    path = tmp_path / "work.ipynb"
    path.write_bytes(classroom.FILES[title])
    with pytest.raises(ValueError, match="is no notebook|is empty|defines no"):
        submissions.lesson_of(path, submissions.read_sources(path))


@pytest.mark.parametrize("what", ["none", "huge", "link", "pipe"])
def test_what_is_no_file_is_one_sentence(what, tmp_path):
    path = tmp_path / "work.ipynb"
    if what == "huge":
        with open(path, "wb") as file:
            file.truncate(submissions.LARGEST + 1)
    if what == "link":
        path.symlink_to("/dev/zero")
    if what == "pipe":
        os.mkfifo(path)
    with pytest.raises(ValueError, match="is no notebook: it "):
        submissions.read_sources(path)


def test_an_empty_or_missing_folder_is_refused(tmp_path, capsys):
    assert jobs.run("grade", [str(tmp_path)]) == 2
    assert jobs.run("grade", [str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "unpack what the class handed in" in said and "no folder" in said


# what comes out of the sandbox, and what is written of it


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.float32(2.5),
        np.zeros((0, 3), dtype=bool),
        (1, [2.5, None, "a"], {"b": b"\x00", 3: (np.inf,)}),
        -(10**20),
    ],
)
def test_a_value_comes_over_the_wire(value):
    form = json.loads(json.dumps(wire.pack(value)))
    np.testing.assert_equal(wire.unpack(form), value)


def test_what_is_no_value_comes_as_its_name():
    class Trap:
        def __reduce__(self):
            return os.system, ("false",)

    for odd in (Trap(), np.array([Trap()]), {1}, 10**5000, print):
        assert isinstance(wire.unpack(wire.pack(odd)), wire.Odd)
    loop = []
    loop.append(loop)
    json.dumps(wire.pack(loop))


@pytest.mark.parametrize(
    "form",
    [
        3,
        ["array", ["<f8", [10**9], "", False]],
        ["array", ["O", [1], "", False]],
        ["bytes", 3],
        ["list", 3],
        ["dict", [[["list", []], ["plain", 1]]]],
        ["pickle", "x"],
    ],
)
def test_a_forged_form_is_refused(form):
    with pytest.raises(ValueError):
        wire.unpack(form)


NOTHING = {"out": ["plain", None], "changed": None, "grads": ["list", []]}
ENDED = {"ended": True}


@pytest.mark.parametrize(
    "said",
    [
        {},
        NOTHING,
        {"result": ["plain", True]},
        {"mistake": ["right", "", "", None]},
        {"mistake": []},
        {"blank": 3},
        "right",
        None,
    ],
)
@pytest.mark.parametrize(
    "name", ["softmax", "softmax_backward", "causal_mask"]
)
def test_no_forged_case_is_right(said, name):
    lesson = "language_model" if name == "head_backward" else "attention"
    n = len(judge.expect(lesson, name, 5))
    answer = NO_ANSWER | ENDED | {"cases": [said] * n}
    assert judge.judge_way(lesson, name, answer, 5).verdict != "right"


@pytest.mark.parametrize(
    "forged",
    [
        ENDED,
        {"state": ["right", ""]},
        {"state": "right"},
        {"state": {"word": "right"}},
        ENDED | {"cases": {"a": 1}},
        ENDED | {"cases": 11, "seen": 3},
        ENDED | {"seen": {"a": 1}, "late": True},
    ],
)
def test_no_forged_answer_is_right(forged):
    row = judge.judge_way("attention", "softmax", NO_ANSWER | forged, 5)
    assert row.verdict != "right"


def test_texts_of_students_are_only_texts():
    row = Row("softmax", "error", "<script>alert(1)</script>")
    results = [
        grade.Result("=cmd|'/c calc'!A1", "01", [row], {}),
        grade.Result("../../etc/passwd", "01", [row], {}),
        grade.Result("etc passwd", "01", [row], {}),
        grade.Result("..", "01", [row], {}),
    ]
    assert "<script>" not in pages.as_html(results)
    assert "\n'=cmd" in pages.as_csv(results)
    names = pages.file_names([result.student for result in results])
    assert len(set(names)) == 4
    assert all(name[0] not in "." and "/" not in name for name in names)
    assert clean("<A at 0x7f12ab34cd>") == "<A at 0x...>"


def test_terms_have_numbers_of_their_own():
    assert seed_of("2027-spring") == seed_of("2027-spring") > 0
    assert len({seed_of(t) for t in ("", "2027-spring", "2027-fall")}) == 3


# copies


def test_the_same_tree_under_other_names_is_seen():
    source = """
def f(x, axis=-1):
    '''Say what it does.'''
    top = x.max(axis=axis, keepdims=True)
    total = np.exp(x - top).sum(axis=axis, keepdims=True)
    return x - top - np.log(total)
"""
    renamed = source.replace("top", "m").replace("total", "s")
    renamed = renamed.replace("Say what it does.", "Other words.")
    other = source.replace("x - top -", "x - (top +") + ")"
    other = other.replace("np.log(total)\n)", "np.log(total))\n")
    trees = [tree_of([text], "f") for text in (source, renamed, other)]
    assert trees[0] == trees[1] != trees[2] and all(trees)
    assert tree_of([source], "g") is None
    assert tree_of(["def f(x):\n    return x"], "f") is None


def test_only_what_few_share_is_a_hint():
    own = {name: f"{name}-common" for name in "abc"}
    results = [grade.Result(f"s{i}", "01", [], own) for i in range(9)]
    assert alike(results) == []
    rare = {name: f"{name}-rare" for name in "abcd"}
    results += [grade.Result(f"r{i}", "01", [], rare) for i in range(2)]
    assert alike(results) == [("r0", "r1", "01", list("abcd"))]


# the fence itself


FENCED = """
import os, sys
from helpers.classes import fence
folder, seen = sys.argv[1], []
fence.give_away(folder)
reads, writes = os.pipe()
if os.fork() == 0:
    said = "nothing was refused"
    try:
        fence.system_fences(folder, 5)
        {inside}
    except BaseException as error:
        said = type(error).__name__
    os.write(writes, said.encode())
    os._exit(0)
os.close(writes)
print(os.read(reads, 99).decode())
"""


def has_landlock():
    """Say whether the kernel lets a process leave all files but some."""
    call = getattr(ctypes.CDLL(None), "syscall", lambda *arguments: -1)
    return sys.platform == "linux" and call(444, None, 0, 1) > 0


@pytest.mark.parametrize(
    "inside, said",
    [
        ("os.fork()", "BlockingIOError"),
        ("import threading; threading.Thread(target=int).start()", "Runtime"),
        ("bytearray(2 * 10**9)", "MemoryError"),
        ("open('big', 'wb', 0).write(bytes(2**21)) == 2**20 or 1 / 0", "noth"),
        ("[open('f') for _ in range(99)] if open('f', 'w') else 0", "OSError"),
        ("open('/etc/new', 'w')", "PermissionError"),
        ("print('x' * 10**6)", "nothing"),
        ("os.mkfifo('/tmp/fifo-of-a-fence')", "PermissionError"),
        ("open('/tmp/../etc/passwd')", "PermissionError"),
        ("open(os.devnull, 'w').write('x')", "nothing"),
    ],
)
def test_the_system_refuses_by_itself(inside, said, tmp_path):
    if os.geteuid() and "/etc" not in inside and sys.platform == "darwin":
        pytest.skip("macOS has other limits")
    if "/tmp" in inside and not has_landlock():
        pytest.skip("a kernel without Landlock")
    tmp_path.chmod(0o777)
    for folder in list(tmp_path.parents)[:2]:
        folder.chmod(folder.stat().st_mode | 0o55)
    code = FENCED.format(inside=inside)
    words = [sys.executable, "-c", code, str(tmp_path)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert said in found.stdout, found.stderr


def test_the_kept_results_are_of_this_code():
    asked = ["attention", ["softmax"], ["x = 1"], 1, 10]
    others = [["training", *asked[1:]], [*asked[:3], 2, 10], [*asked[:4], 9]]
    assert len({grade.digest(a) for a in (asked, *others)}) == 4
    assert Path(grade.HELPERS, "classes", "grade.py").is_file()
