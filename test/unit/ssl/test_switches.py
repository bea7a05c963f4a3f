"""Table VI: each switch changes what it should and nothing else."""

import pytest
import torch
from training_factories import make_config, make_items

from espnet2_dq.errors import ConfigError
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.tasks.collate import Collate, SpanMaskConfig

LENGTHS = (16000, 24000, 20000)


def make_model(seed=0, **branches):
    """Branch settings over the tiny configuration's."""
    conf = make_config()["model_conf"]
    for name, values in branches.items():
        conf[name] = {**conf[name], **values}
    torch.manual_seed(seed)
    return build_ssl_model(make_config(**conf), updates_total=100)


def same_weights(model, **branches):
    """Another model with those weights of ``model`` that it has."""
    other = make_model(**branches)
    state, own = model.state_dict(), other.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    other.load_state_dict(fitting, strict=False)
    return other


def run(model):
    collate = Collate(model.frame_grid.num_frames, 0, SpanMaskConfig())
    batch = collate(make_items(*LENGTHS))[1]
    batch.pop("counts")
    return model(**batch)


def unchanged(one, two, *prefixes):
    """Statistics of both runs with these prefixes are equal, and there are some."""
    names = [n for n in one[1] if n.startswith(prefixes)]
    assert names
    for name in names:
        assert torch.equal(one[1][name], two[1][name]), name


def changed(one, two, name):
    assert not torch.equal(one[1][name], two[1][name])


NOT_PHONEME = ("loss_regression", "loss_language", "acc_language")
NOT_LANGUAGE = ("loss_regression", "loss_phoneme", "acc_phoneme")


def test_s1_gumbel_has_no_kmeans_loss_and_a_diversity_loss():
    base = make_model()
    model = same_weights(base, phoneme={"quantizer": "gumbel"})
    one, two = run(base), run(model)
    unchanged(one, two, *NOT_PHONEME)
    assert two[1]["loss_phoneme_kmeans"] == 0
    two[0].backward()
    quantizer = model.phoneme.quantizer.gumbel
    assert quantizer.codevectors.grad.any()
    assert quantizer.weight_proj.weight.grad.any()
    none = same_weights(model, phoneme={"quantizer": "gumbel", "diversity_weight": 0.0})
    torch.manual_seed(0)
    loss = run(model)[0]
    torch.manual_seed(0)
    assert loss > run(none)[0]


def test_s1_codes_and_padding():
    model = make_model(phoneme={"quantizer": "gumbel"}).eval()
    collate = Collate(model.frame_grid.num_frames, 0, SpanMaskConfig())
    batch = collate(make_items(*LENGTHS))[1]
    codes = model.extract_codes(batch["speech"], batch["speech_lengths"])
    valid = torch.arange(codes.phoneme.size(1)) < codes.lengths[:, None]
    assert codes.phoneme.shape[-1] == 2
    assert torch.equal(codes.phoneme[..., 0] >= 0, valid)
    assert codes.phoneme.max() < 8


def test_s1_temperature_falls_with_the_updates(monkeypatch):
    from espnet2_dq.ssl import frame_gumbel

    seen = []
    original = frame_gumbel.gumbel_temperature
    monkeypatch.setattr(
        frame_gumbel,
        "gumbel_temperature",
        lambda update, conf: seen.append(original(update, conf)) or seen[-1],
    )
    schedule = {"quantizer": "gumbel", "gumbel_temperature": [2.0, 0.5, 0.5]}
    model = make_model(phoneme=schedule)
    for _ in range(4):
        run(model)
        model.on_update()
    assert seen == [2.0, 1.0, 0.5, 0.5]


def test_s1_refuses_revival_of_kmeans():
    with pytest.raises(ConfigError, match=r"phoneme.revival.*gumbel"):
        make_model(phoneme={"quantizer": "gumbel", "revival": {"init": "data"}})
    with pytest.raises(ConfigError, match=r"language.quantizer"):
        make_model(language={"quantizer": "gumbel"})


def test_s2_one_group_has_one_codebook_of_full_width():
    model = make_model(language={"groups": 1}, phoneme={"groups": 1})
    assert model.language.quantizer.codebook.shape == (1, 3, 16)
    assert model.phoneme.quantizer.codebook.shape == (1, 8, 16)
    assert model.phoneme.quantizer.projection.shape == (1, 16, 16)
    run(model)[0].backward()


def test_s3_and_s4_exchange_one_norm_only():
    base = make_model()
    s3 = same_weights(base, phoneme={"norm": "l2"})
    one, two = run(base), run(s3)
    unchanged(one, two, *NOT_PHONEME)
    changed(one, two, "loss_phoneme_kmeans")
    s4 = same_weights(base, language={"norm": "ins", "post_norm": "none"})
    plain = same_weights(base, language={"post_norm": "none"})
    one, two = run(plain), run(s4)
    unchanged(one, two, *NOT_LANGUAGE)
    changed(one, two, "loss_language_kmeans")


@pytest.mark.parametrize("kind", ["transformer", "conv"])
@pytest.mark.parametrize("position", ["pre_norm", "post_norm"])
def test_s5_and_s6_put_a_block_in_front_of_the_phoneme_quantizer(kind, position):
    base = make_model()
    block = {"type": kind, "layers": 1, "position": position}
    model = same_weights(base, phoneme={"additional": block})
    one, two = run(base), run(model)
    unchanged(one, two, *NOT_PHONEME)
    changed(one, two, "loss_phoneme")
    two[0].backward()
    assert all(
        p.grad.any() for p in model.phoneme.additional.parameters() if p.dim() > 1
    )
    # nothing flows back into the teacher or the frontend through the block
    assert all(p.grad is None for p in model.teacher.parameters())


def test_s6_for_the_language_branch_stands_before_the_pooling():
    block = {"type": "conv"}
    base = make_model()
    model = same_weights(base, language={"additional": block})
    one, two = run(base), run(model)
    unchanged(one, two, *NOT_LANGUAGE)
    changed(one, two, "loss_language_kmeans")
    with pytest.raises(ConfigError, match="no time axis"):
        make_model(language={"additional": {**block, "position": "post_norm"}})


def test_s7_has_no_block():
    model = make_model()
    assert model.language.additional is None
    assert model.phoneme.additional is None


def test_speaker_as_target_changes_no_number():
    base = make_model()
    model = same_weights(base, language={"target": "utt2spk"})
    assert torch.equal(run(base)[0], run(model)[0])
