"""docs/analysis.md shows commands and settings that exist."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from espnet2_dq.config import from_mapping
from espnet2_dq.ssl.build import branch_defaults
from espnet2_dq.ssl.config import SSLConfig

PAGE = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
(SHELL,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = SHELL.replace("\\\n", " ").splitlines()


def test_all_three_commands_are_shown() -> None:
    names = {shlex.split(command)[2].rpartition(".")[2] for command in COMMANDS}
    assert names == {"analyse", "offline_kmeans", "probe_layers"}
    assert all(f"`bin.{name}`" in PAGE for name in names)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    python, flag, module, *options = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    args = importlib.import_module(module).get_parser().parse_args(options)
    assert args.out


def test_every_named_option_exists() -> None:
    known = set()
    for name in ("analyse", "offline_kmeans", "probe_layers"):
        parser = importlib.import_module(f"espnet2_dq.bin.{name}").get_parser()
        known |= {o for action in parser._actions for o in action.option_strings}
    named = set(re.findall(r"--[a-z_]+", PAGE))
    assert {"--alignments", "--align_with", "--tables"} <= named <= known


def test_the_speaker_quantizer_is_a_valid_setting() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    conf = from_mapping(SSLConfig, branch_defaults(yaml.safe_load(block)), "model_conf")
    assert conf.language.target == "utt2spk"
    assert conf.language.clusters == 0
