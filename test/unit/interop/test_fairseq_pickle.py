"""fairseq files: read in isolation, converted, used."""

import argparse
import json
import os
import pickle
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from training_factories import make_items
from wav2vec2_factories import (
    FAIRSEQ_MODEL,
    collated,
    make_wav2vec2,
    to_fairseq_names,
)

from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.fairseq_config import fairseq_architecture, parse_conv_layers
from espnet2_dq.interop.fairseq_pickle import (
    SETTINGS,
    convert,
    main,
    plain,
    read_restricted,
)
from espnet2_dq.interop.pretrained import read_architecture, read_pretrained
from espnet2_dq.ssl.build import build_ssl_model
from espnet2_dq.ssl.init import initialise, settle_architecture


class Trap:
    """Would create a file when unpickled by pickle itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def foreign():
    """Classes of a module that the reading process cannot import."""
    module = types.ModuleType("fairseq_of_the_test")
    for name, base in (("Criterion", object), ("Mode", str), ("Meters", dict)):
        setattr(module, name, type(name, (base,), {"__module__": module.__name__}))
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def checkpoint(path: Path, foreign, *, legacy: bool, cfg: dict, trap=None) -> dict:
    weights = to_fairseq_names(make_wav2vec2(1).state_dict())
    weights = {k: v for k, v in weights.items() if not k.startswith(("health", "num_"))}
    meters = foreign.Meters(loss=3)
    content = {
        "args": None,
        "model": {
            **weights,
            "quantizer.weight_proj.bias": torch.nn.Parameter(
                weights["quantizer.weight_proj.bias"]
            ),
        },
        "criterion": foreign.Criterion(),
        "extra_state": {"meters": meters, "trap": trap},
        **cfg,
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return weights


OLD = {"args": argparse.Namespace(**FAIRSEQ_MODEL, normalize=False, data="/x")}
NEW = {
    "cfg": {"model": argparse.Namespace(**FAIRSEQ_MODEL), "task": {"normalize": False}}
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("cfg", [OLD, NEW], ids=["args", "cfg"])
def test_weights_and_settings_survive_and_nothing_runs(tmp_path, foreign, legacy, cfg):
    trace = tmp_path / "trace"
    source, target = tmp_path / "old.pt", tmp_path / "new.safetensors"
    weights = checkpoint(source, foreign, legacy=legacy, cfg=cfg, trap=Trap(trace))
    if legacy and "args" in cfg:
        convert(source, target)
    else:  # the same without the seconds that a process needs to import torch
        assert main([str(source), str(target)]) == 0
    assert not trace.exists()
    with safe_open(target, framework="pt") as stream:
        settings = json.loads(stream.metadata()[SETTINGS])
        assert set(stream.keys()) == set(weights)
        for name, value in weights.items():
            assert torch.equal(stream.get_tensor(name), value), name
    where = settings["args"] or settings["cfg"]["model"]
    assert where["encoder_embed_dim"] == 24
    architecture, name = read_architecture(target)
    assert name == str(target)
    assert architecture["frontend_conf"]["normalize_audio"] is False
    # the trap is a real one
    with source.open("rb") as stream:
        torch.load(stream, weights_only=False)
    assert trace.exists()


def test_further_pretraining_from_a_fairseq_file(tmp_path, foreign):
    source = tmp_path / "wav2vec_small.pt"
    checkpoint(source, foreign, legacy=False, cfg=OLD)
    given = {"objective": "wav2vec2", "model_conf": {"negatives": 7}}
    settled = {**given, **settle_architecture(given, source)}
    assert settled["model_conf"]["quantizer"]["codes"] == 10
    model = build_ssl_model(settled).eval()
    reports = initialise(model, source, min_fraction=1.0)
    for report in reports:
        assert report.missing == report.unexpected == []
    original = make_wav2vec2(1).eval()
    batch = collated(model, make_items(16000, 24000))
    batch.pop("counts")
    with torch.no_grad():
        for ours, other in zip(
            model.encode_masked(**batch).encoded.layers,
            original.encode_masked(**batch).encoded.layers,
            strict=True,
        ):
            assert torch.equal(ours, other)
    for part in ("quantizer.codevectors", "project_q.weight", "final_proj.bias"):
        assert torch.equal(model.state_dict()[part], original.state_dict()[part])


def test_enums_and_omegaconf_nodes_become_plain(tmp_path, foreign):
    class Node:
        __module__ = foreign.__name__
        __qualname__ = "Node"

        def __init__(self, **state):
            self.__dict__.update(state)

    foreign.Node = Node
    inner = Node(_val=24)
    content = {
        "cfg": Node(_content={"model": Node(_content={"encoder_embed_dim": inner})}),
        "mode": foreign.Mode("layer_norm"),
        "model": {"w": torch.ones(2)},
    }
    path = tmp_path / "x.pt"
    torch.save(content, path)
    read = read_restricted(path)
    assert plain(read["cfg"]) == {"model": {"encoder_embed_dim": 24}}
    assert plain(read["mode"]) == "layer_norm"
    assert plain(read["model"]["w"]) is None


def test_dangerous_names_are_stubs_in_every_protocol(tmp_path):
    """Names that lead to code: also dotted ones, and builtins."""
    from espnet2_dq.interop.fairseq_pickle import Stub, Unpickler

    class Finder(Unpickler):
        def __init__(self):
            import io

            super().__init__(io.BytesIO())

    for module, name in (
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("os", "system"),
        ("torch.storage", "_load_from_bytes"),
        ("torch", "load"),
        ("collections", "OrderedDict.__init__"),
        ("argparse", "Namespace.__class__"),
    ):
        found = Finder().find_class(module, name)
        assert isinstance(found, type), name
        assert issubclass(found, Stub), name


def test_bad_files_are_refused(tmp_path, capsys):
    target = tmp_path / "new.safetensors"
    path = tmp_path / "x.pt"

    def refused() -> str:
        assert main([str(path), str(target)]) == 1
        assert not target.exists()
        return capsys.readouterr().err

    path.write_bytes(b"no pickle at all")
    with pytest.raises(CheckpointError, match=r"x\.pt: cannot be converted"):
        convert(path, target)
    torch.save({"epoch": 1}, path)
    assert "'model' holds no tensors" in refused()
    path.write_bytes(pickle.dumps({"model": 1}))
    assert refused()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
    assert "TorchScript" in refused()
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "tensors")
    assert "tar archives" in refused()
    with pytest.raises(CheckpointError, match="not found"):
        read_pretrained(tmp_path / "none.pt")


def test_conv_layers_are_parsed_not_evaluated():
    text = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2), (512,2,2)]"
    expected = [[512, 10, 5], *[[512, 3, 2]] * 4, [512, 2, 2], [512, 2, 2]]
    assert parse_conv_layers(text, "x") == expected
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        parse_conv_layers("__import__('os').system('x')", "x")


def test_variants_that_we_do_not_have_are_named():
    with pytest.raises(ConfigError, match="quantizer_depth is 2"):
        fairseq_architecture({"args": {**FAIRSEQ_MODEL, "quantizer_depth": 2}}, "x")
    assert fairseq_architecture({"args": None, "cfg": None}, "x") is None
    found = fairseq_architecture({"args": {**FAIRSEQ_MODEL, "latent_dim": 0}}, "x")
    assert found["model_conf"]["quantizer"]["dim"] == 8
    assert found["normalisation_unknown"]
