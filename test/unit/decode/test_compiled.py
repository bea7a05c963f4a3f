import pathlib
import shutil
import subprocess
import sys

import numba
import pytest

import espnet2_dq
from espnet2_dq.decode.compiled import compiled


def test_compiles_without_any_place_to_write(monkeypatch):
    njit = numba.njit

    def nowhere(*args, cache=False, **values):
        if cache:
            raise RuntimeError("cannot cache function: no locator available for file")
        return njit(*args, **values)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(lambda x: x + 1)(2) == 3


def test_other_errors_are_not_hidden(monkeypatch):
    def broken(*args, **values):
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(lambda x: x)


def test_cache_of_a_read_only_package_is_elsewhere(tmp_path):
    """Machine code is kept for a package that must not be written to, too."""
    package = tmp_path / "site" / "espnet2_dq"
    (package / "decode").mkdir(parents=True)
    source = pathlib.Path(espnet2_dq.__file__).parent / "decode" / "compiled.py"
    shutil.copy(source, package / "decode")
    for folder in (package, package / "decode"):
        (folder / "__init__.py").touch()
    (package / "decode" / "one.py").write_text(
        "from espnet2_dq.decode.compiled import compiled\n\n\n"
        "@compiled\ndef one(x):\n    return x + 1\n"
    )
    # root may write anywhere: a file in the place of the folder stops it
    (package / "decode" / "__pycache__").touch()
    subprocess.run(
        [sys.executable, "-c", "from espnet2_dq.decode.one import one; one(1)"],
        env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    assert list((tmp_path / "home").rglob("one.one-*.nbi"))
