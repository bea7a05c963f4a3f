import numpy as np
import pytest
import torch
from stub_ctc import TOKENS, StubCTC, spell

from espnet2_dq.decode.beam import BeamOptions
from espnet2_dq.decode.recogniser import Recogniser
from espnet2_dq.errors import ConfigError

MODES = pytest.mark.parametrize(
    "beam", [None, BeamOptions(beam_size=5, nbest=2)], ids=["greedy", "beam"]
)


def texts(recogniser, sounds):
    return [
        recogniser.describe(recogniser.decode(p)[0], len(sound)).tokens
        for p, sound in zip(recogniser.posteriors(sounds), sounds, strict=True)
    ]


@MODES
def test_sounds_become_tokens(beam):
    sounds = [spell(2, 3, 3), spell(4), spell()]
    assert texts(Recogniser(StubCTC(), beam), sounds) == [["a", "b", "b"], ["c"], []]


@MODES
def test_batch_mates_and_padding_do_not_matter(beam):
    recogniser = Recogniser(StubCTC(), beam)
    rng = np.random.default_rng(0)
    sounds = [spell(*rng.integers(1, 5, size=n)) for n in (1, 7, 3)]
    together = recogniser.posteriors(sounds)
    for sound, log_probs in zip(sounds, together, strict=True):
        (alone,) = recogniser.posteriors([sound])
        np.testing.assert_array_equal(alone, log_probs)
        assert recogniser.decode(alone) == recogniser.decode(log_probs)


@MODES
def test_times_lie_where_the_token_is_heard(beam):
    recogniser = Recogniser(StubCTC(), beam)
    sound = spell(2, 3, frames_each=4)
    (log_probs,) = recogniser.posteriors([sound])
    timed = recogniser.describe(recogniser.decode(log_probs)[0], len(sound))
    # samples 640..1920 and 3200..4480, to half a frame
    assert timed.start_s == pytest.approx([0.04, 0.20], abs=0.011)
    assert timed.end_s == pytest.approx([0.12, 0.28], abs=0.011)
    assert timed.token_scores == pytest.approx([0.0, 0.0], abs=1e-3)


def test_frame_times_follow_the_frame_grid():
    """Frame t stands for the 20 ms around its centre, (320 t + 200) / 16000 s."""
    recogniser = Recogniser(StubCTC())
    log_probs = np.full((3, 5), -9.0, dtype=np.float32)
    log_probs[[0, 1, 2], [2, 0, 3]] = -0.1
    timed = recogniser.describe(recogniser.decode(log_probs)[0], 1200)
    assert timed.start_s == pytest.approx([40 / 16000, 680 / 16000])
    assert timed.end_s == pytest.approx([360 / 16000, 1000 / 16000])


def test_pooled_frames_are_longer():
    recogniser = Recogniser(StubCTC(subsample=2))
    log_probs = np.full((2, 5), -9.0, dtype=np.float32)
    log_probs[[0, 1], [0, 3]] = -0.1
    timed = recogniser.describe(recogniser.decode(log_probs)[0], 1000)
    assert timed.start_s == pytest.approx([680 / 16000])
    assert timed.end_s == pytest.approx([1000 / 16000])  # the sound ends first


@MODES
def test_sentence_end_is_no_token(beam):
    recogniser = Recogniser(StubCTC([*TOKENS, "<sos/eos>"]), beam)
    (log_probs,) = recogniser.posteriors([spell(2, 5, 3)])
    best = recogniser.decode(log_probs)[0]
    assert 5 not in best.ids
    assert best.ids[0] == 2
    assert len(best.spans) == len(best.ids)


@MODES
def test_nan_and_no_frames_are_errors(beam):
    recogniser = Recogniser(StubCTC(), beam)
    with pytest.raises(ValueError, match="no frames"):
        recogniser.decode(np.zeros((0, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="NaN"):
        recogniser.decode(np.full((3, 5), np.nan, dtype=np.float32))


def test_n_best_and_scores():
    recogniser = Recogniser(StubCTC(), BeamOptions(beam_size=5, nbest=3, top_k=None))
    (log_probs,) = recogniser.posteriors([spell(2, 3)])
    found = recogniser.decode(torch.from_numpy(log_probs).mul(0.1).numpy())
    assert len(found) == 3
    assert found[0].score >= found[1].score >= found[2].score
    assert found[0].spans
    assert not found[1].spans


def test_beam_beyond_the_vocabulary():
    with pytest.raises(ConfigError, match="beam_size: 10"):
        Recogniser(StubCTC(), BeamOptions(beam_size=10))


@MODES
def test_a_real_model_hears_the_same_with_and_without_padding(beam):
    from espnet2_dq.asr.build import build_ctc_model

    torch.manual_seed(0)
    model = build_ctc_model(
        {
            "frontend": "waveform",
            "frontend_conf": {},
            "encoder_conf": {
                "output_size": 16,
                "attention_heads": 2,
                "linear_units": 32,
                "num_blocks": 2,
                "positional": {"kernel": 7, "groups": 2},
            },
            "token_list": TOKENS,
        }
    )
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(20)
    recogniser = Recogniser(model, beam)
    rng = np.random.default_rng(1)
    sounds = [rng.standard_normal(n).astype(np.float32) for n in (4000, 9000, 400)]
    together = recogniser.posteriors(sounds)
    for sound, log_probs in zip(sounds, together, strict=True):
        (alone,) = recogniser.posteriors([sound])
        np.testing.assert_allclose(alone, log_probs, atol=1e-3)
        assert recogniser.decode(alone)[0].ids == recogniser.decode(log_probs)[0].ids
    assert any(recogniser.decode(p)[0].ids for p in together)
