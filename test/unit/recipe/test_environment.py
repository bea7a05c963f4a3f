"""The environment report: real versions, the checkout's commit, no torch."""

import json
import platform
import subprocess
import sys

from espnet2_dq.bin import env
from espnet2_dq.recipe.environment import environment


def test_names_versions_and_machine():
    found = environment()
    assert found.python == platform.python_version()
    assert found.packages["torch"].startswith("2.")
    assert found.cores >= 1
    assert found.memory_gib > 0.1
    assert any(line.startswith("espnet 20") for line in found.lines())


def test_json_is_readable(capsys):
    assert env.main(["--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["packages"]["espnet"] in ("202511", "202611")


def test_commit_and_dirty_flag_follow_git(tmp_path):
    package = tmp_path / "espnet2_dq" / "recipe"
    package.mkdir(parents=True)
    script = (
        "import sys, pathlib; import espnet2_dq.recipe.environment as e;"
        f"e.__file__ = '{package}/environment.py'; print(*e._commit())"
    )

    def commit():
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert commit()[0] == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    head, dirty = commit()
    assert len(head) == 12
    assert dirty == "False"
    (tmp_path / "file").write_text("2")
    assert commit()[1] == "True"
