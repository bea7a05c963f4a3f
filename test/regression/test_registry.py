"""ESPnet's stock tasks can build our classes once they are registered."""

import argparse
import subprocess
import sys

import pytest

SCRIPT = """
from espnet2_dq.registry import register_with_espnet
SYLLABLES = ["<blank>", "<unk>", "가", "<sos/eos>"]
register_with_espnet()
register_with_espnet()
from espnet2.tasks.asr import ASRTask, encoder_choices, frontend_choices, model_choices
assert encoder_choices.get_class("dq_transformer").__name__ == "DQTransformerEncoder"
assert frontend_choices.get_class("log_mel").__name__ == "LogMelFrontend"
parser = ASRTask.get_parser()
args = parser.parse_args([
    "--output_dir", "unused", "--token_type", "char",
    "--token_list", "<blank>", "--model", "dq_ctc", "--frontend", "log_mel",
    "--encoder", "dq_transformer", "--normalize", "none",
])
assert args.encoder == "dq_transformer" and args.model == "dq_ctc"
graphemes = ["<blank>", "x"]
args = parser.parse_args([
    "--output_dir", "unused", "--token_type", "char", "--frontend", "log_mel",
    "--frontend_conf", "n_mels=20", "--preencoder", "linear",
    "--preencoder_conf", "input_size=20", "--preencoder_conf", "output_size=16",
    "--encoder", "dq_transformer", "--normalize", "none", "--specaug", "none",
    "--encoder_conf", "output_size=16", "--encoder_conf", "attention_heads=2",
    "--encoder_conf", "linear_units=8", "--encoder_conf", "num_blocks=1",
    "--encoder_conf", "positional={'kernel': 3, 'groups': 2}",
    "--decoder", "none", "--model", "dq_hierarchical_ctc", "--token_list", "unused",
    "--model_conf", f"token_lists={{'grapheme': {graphemes}, 'syllable': {SYLLABLES}}}",
])
args.token_list = SYLLABLES
model = ASRTask.build_model(args)
assert model.heads == ("grapheme", "syllable") and model.token_list == SYLLABLES
print("registered")
"""


@pytest.mark.slow
def test_stock_tasks_know_our_classes():
    # A process of its own: the tasks take 20 s to import and bring much along.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("registered")


def test_another_class_of_the_same_name_is_refused():
    from espnet2_dq.registry import _add

    choices = argparse.Namespace(name="encoder", classes={"dq_transformer": object})
    with pytest.raises(RuntimeError, match="already has a encoder called"):
        _add(choices, "dq_transformer", int)
