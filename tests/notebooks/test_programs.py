"""The programs on a notebook of the tests' own, in processes and kernels of their own."""

import csv
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import nbformat
import pytest

from notebooks._grading import confinement
from notebooks.assign import blank
from tests import commands
from tfgen.errors import WorkError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PACKAGE = commands.ROOT / "notebooks"
SETUP = '# %% tags=["setup"]\nimport os\n\n# %%\n'
DOUBLE = "def double(x):\n    return 2 * x\n\n# %%\n"
QUADRUPLE = "def quadruple(x):\n    return double(double(x))\n"
# What passes in a notebook: statements that change a name which the answer uses.
CHANGES = """
NUMBERS, LIST = {}, []
class config: pass
# %%
alias = NUMBERS; alias["two"] = 2; setattr(config, "a", 1); config.b = [1]; config.b.extend([2])
def fill(): LIST.append(0)
for _ in range(3): fill()
# %%

%%time
double = lambda x: x * NUMBERS["two"] + len(LIST) - sum(config.b) * config.a
"""
# Each begins the body of `double`, which then returns nothing.
CHEATS = {
    "without-barrier": "import sys; sys.meta_path[:] = sys.meta_path[-3:]; import tfgen.notebooks",
    "imports-checks": "import notebooks.checks.tiny",
    "rewrites-checks": "import glob; open(glob.glob('/**/tiny.py', recursive=True)[0], 'w')",
    "one-byte": "import os, time; os.write(4, bytes([9] + 8 * [0])); time.sleep(99)",
    "kills-its-parent": "import os; [os.kill(i, 9) for i in (os.getppid(), 1, -1)]",
    "loop": "while True: pass",
    "memory": "[bytearray(1 << 28) for _ in range(1 << 12)]",
    "network": "import socket; socket.create_connection(('localhost', 9))",
    "=escape": "raise ValueError('\\x1b[31m')",
}
# The cells of an answer, its points of 2 and of 3, and words of each message.
ANSWERS = {
    "without-setup": ("# %%\n%timeit -n 1 -r 1 pass\n" + DOUBLE + QUADRUPLE, 2, 3, "", ""),
    "elsewhere": (
        "# %%\nimport absent\nfrom operator import *\nTWO = 2\n# %%\ndouble = lambda x: mul(TWO, x)"
        "\n# %%\nx = double(3)\nassert 0\n" + QUADRUPLE,
        *(2, 3, "", ""),
    ),
    # The other exercise may be right with another function instead.
    "wrong": (SETUP + DOUBLE.replace("2 * x", "x * x") + QUADRUPLE, 0, 3, "the square", ""),
    "raises": (
        SETUP + DOUBLE.replace("2 *", "y *") + QUADRUPLE.replace("(x):", "(y):"),
        *(0, 0, "line 2 of its cell raises NameError: name 'y'", "line 2 of its cell raises Name"),
    ),
    "missing": (SETUP + QUADRUPLE, 0, 3, "has no function double", ""),
    "no-python": (SETUP + DOUBLE.replace("2 *", "2 *)") + QUADRUPLE, 0, 3, "SyntaxError", ""),
    "changes": (CHANGES + QUADRUPLE, 2, 3, "", ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the programs and one notebook, `tiny`."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("assignments", "checks"):
        (folder / "notebooks" / name).mkdir(parents=True)
    programs = (PACKAGE / f"{name}.py" for name in ("assign", "check", "run"))
    for path in (*PACKAGE.glob("_*.py"), *programs):
        shutil.copy(path, folder / "notebooks")
    for path in (PACKAGE / "checks").glob("_*.py"):
        shutil.copy(path, folder / "notebooks" / "checks")
    checks = (HERE / "tiny_checks.py").read_text()
    for absolute, relative in (("notebooks.checks.", "."), ("notebooks.checks ", ". ")):
        checks = checks.replace(f"from {absolute}", f"from {relative}")
    (folder / "notebooks" / "checks" / "tiny.py").write_text(checks)
    shutil.copy(HERE / "tiny.py", folder / "notebooks")
    return folder


def program(folder: Path, name: str, *arguments: str) -> CompletedProcess[str]:
    result = commands.python(["-m", f"notebooks.{name}", *arguments], folder)
    result.stderr = result.stderr.replace(f"{confinement()[1]}, so answers are trusted\n", "")
    return result


def grade(
    folder: Path, names: Iterable[str], seconds: float
) -> tuple[CompletedProcess[str], list[dict[str, str]]]:
    files = [f"{name}.py" for name in names]
    flags = ["--as", "tiny", "--seconds", f"{seconds:.0f}", "--csv", "points.csv"]
    graded = program(folder, "check", *files, *flags)
    with (folder / "points.csv").open(newline="") as file:
        return graded, list(csv.DictReader(file))


def test_answers_are_graded_apart_from_each_other(folder: Path) -> None:
    for name, (cells, *_) in ANSWERS.items():
        (folder / f"{name}.py").write_text(cells)
    graded, rows = grade(folder, ANSWERS, commands.PATIENCE)
    assert graded.returncode == 1
    assert len(rows) == 2 * len(ANSWERS)
    for name, (_, *points, double, quadruple) in ANSWERS.items():
        results = [row for row in rows if row["notebook"] == f"{name}.py"]
        assert [row["exercise"] for row in results] == ["double", "quadruple"]
        assert [int(row["earned"]) for row in results] == points, name
        for row, words in zip(results, (double, quadruple), strict=True):
            assert words in row["mistake"]
            assert bool(row["mistake"]) == (row["earned"] == "0")


@pytest.mark.skipif(bool(confinement()[1]), reason=confinement()[1])
def test_a_class_of_20_is_graded_whatever_its_answers_do(folder: Path) -> None:
    names = [*CHEATS, "bad", "worse", *(f"student-{i}" for i in range(20 - 2 - len(CHEATS)))]
    for name in names:
        code = DOUBLE.replace("    return", f"    {CHEATS[name]}\n") if name in CHEATS else DOUBLE
        (folder / f"{name}.py").write_text(SETUP + code.replace("\n 2 * x", "") + QUADRUPLE)
    (folder / "bad.py").write_bytes(b"\xff\0")
    (folder / "worse.py").unlink()
    # Some answers take all the time there is. The others take milliseconds, however busy the
    # machine is.
    graded, rows = grade(folder, names, 10)
    assert graded.returncode == 2
    assert "bad.py" in graded.stderr and "worse.py is no file" in graded.stderr
    points = [*len(CHEATS) * ["3 / 5"], "–", "–", *(18 - len(CHEATS)) * ["5 / 5"]]
    table = re.findall(r"^ +(\S+(?: / 5)?)  (\S+)\.py", graded.stdout, re.M)
    assert table == list(zip(points, names, strict=True))
    assert rows[2 * len(CHEATS) - 2]["notebook"] == "'=escape.py"
    assert rows[2 * len(CHEATS) - 2]["mistake"].endswith(r"cell raises ValueError: \x1b[31m")


def test_an_assignment_has_no_points_under_any_name(folder: Path) -> None:
    (written,) = re.findall("wrote (.*)\n", program(folder, "assign").stdout)
    Path(written).rename(folder / "tiny (1).ipynb")
    graded = program(folder, "check", "tiny (1).ipynb")
    assert (graded.returncode, graded.stderr) == (1, "")
    assert graded.stdout.count("not written yet") == 2
    assert "0 / 5" in graded.stdout


def test_a_run_has_outputs_and_seconds_and_full_marks(folder: Path) -> None:
    saved = program(folder, "run", "tiny", "--save")
    assert (saved.returncode, saved.stderr) == (0, "")
    assert re.fullmatch(r"tiny: \d+ s\ntogether: \d+ s\n", saved.stdout)
    notebook = nbformat.read(folder / "notebooks" / "tiny.ipynb", as_version=4)
    outputs = [output.text for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs == ["double: right\n4, with full settings\n", "quadruple: right\n"]
    graded = program(folder, "check", "notebooks/tiny.ipynb")
    assert (graded.returncode, graded.stderr) == (0, "")
    assert graded.stdout == "   5 / 5  notebooks/tiny.ipynb\n"


def test_a_cell_that_raises_with_small_settings_ends_a_run(folder: Path) -> None:
    source, text = folder / "notebooks" / "tiny.py", (HERE / "tiny.py").read_text()
    source.write_text(text.replace("check(double)", "assert not SMALL"))
    broken = program(folder, "run", "tiny", "--small")
    source.write_text(text)
    assert broken.returncode == 1
    assert broken.stderr == "python -m notebooks.run: error: tiny: a cell raises AssertionError\n"
    assert "assert not SMALL" in broken.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("check", [], "the following arguments are required: NOTEBOOK"),
        ("check", ["absent.ipynb"], r"absent\.ipynb is no file; pass a notebook, such as"),
        ("check", ["text.ipynb"], r"text\.ipynb is not graded: .*JSON"),
        ("check", ["notes.py"], "notes.py: no notebook is called 'notes'.*known: tiny; pass --as"),
        ("check", ["notes.py", "--as", "tinny"], "'tinny'; did you mean 'tiny'"),
        ("check", ["notes.py", "--as", "tiny"], "notes.py has no exercise of the notebook tiny"),
        ("check", ["notes.py", "--seconds", "0"], "--seconds 0 is no limit; pass at least 1"),
        ("run", ["tinny"], "no notebook is called 'tinny'; did you mean 'tiny'"),
        ("run", ["--small", "--save"], "--save needs the outputs of a full run"),
    ],
)
def test_a_wrong_use_ends_in_one_line(
    folder: Path, name: str, arguments: Sequence[str], message: str
) -> None:
    (folder / "text.ipynb").write_text("text")
    (folder / "notes.py").write_text("# %%\nx = 1\n")
    wrong = program(folder, name, *arguments)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert re.fullmatch(rf"python -m notebooks\.{name}: error: .*{message}.*\n", wrong.stderr)


def test_without_the_extra_an_error_says_how_to_install_it(folder: Path) -> None:
    (folder / "jupytext.py").write_text("raise ModuleNotFoundError(name='jupytext')")
    lacking = program(folder, "check", "notes.py")
    (folder / "jupytext.py").unlink()
    assert lacking.returncode == 2
    assert lacking.stderr == "notebooks needs an extra: pip install '.[notebooks]'\n"


def test_an_exercise_is_one_function_with_a_docstring() -> None:
    for source in (
        "def f(x):\n    return x\n",
        "x = 1\n",
        'def f(x):\n    """F."""\n\ny = 2\n',
        "",
    ):
        with pytest.raises(WorkError, match="an exercise is not one function with a docstring"):
            blank(source)


def test_a_blank_keeps_signature_and_docstring() -> None:
    source = '@decorator\ndef f(\n    x,\n):\n    """F\n\n    of x."""\n    # why\n    return x\n'
    expected = source.partition("    # why")[0] + '    raise NotImplementedError("write f")'
    assert blank(source) == expected
