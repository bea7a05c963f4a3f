"""Stage 13: zip files that load on another machine, with a model card each."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2
import torch
import yaml

from espnet2_dq import __version__
from espnet2_dq.analysis.collect import Run
from espnet2_dq.asr.build import find_checkpoint, read_config, token_list
from espnet2_dq.asr.hierarchical_build import token_lists
from espnet2_dq.asr.init import PARTS
from espnet2_dq.asr.tokens import tokens_sha256
from espnet2_dq.errors import CheckpointError
from espnet2_dq.espnet_compat import espnet_version
from espnet2_dq.interop.load import read_weights

Kind = Literal["ssl", "ssl_full", "ctc", "hierarchical"]
RECOGNISERS: tuple[Kind, ...] = ("ctc", "hierarchical")
CONFIG, MODEL, CARD = "config.yaml", "model.pth", "README.md"
# What describes model and training; paths of the machine that trained stay behind.
_KEPT = (
    *(key for part in PARTS for key in (part, f"{part}_conf")),
    "model_conf",
    "ctc_conf",
    "objective",
    "token_list",
    "token_list_sha256",
    "time_mask",
    "channel_mask",
    "batch_seconds",
    "crop_seconds",
    "language_power",
    "accum_grad",
    "max_epoch",
    "num_iters_per_epoch",
    "grad_clip",
    "optim",
    "optim_conf",
    "scheduler",
    "scheduler_conf",
    "seed",
)


@dataclass(frozen=True)
class Packed:
    """One zip file and what is in it."""

    path: Path
    kind: Kind
    source: Path
    parameters: int


def pack_ssl(run: Run, out: Path, *, full: bool = False) -> Packed:
    """Pack the pretrained model.

    Args:
        run: The experiment.
        out: Folder of ``ssl.zip`` and its card.
        full: Keep teacher, quantizers and predictors (to analyse codes elsewhere);
            by default frontend, projection and student encoder only, which is what
            fine-tuning needs. The optimizer is never packed.
    """
    folder = run.exp / "pretrain"
    weights = read_weights(find_checkpoint(folder, "latest.pth"))
    if not full:
        scope = tuple(f"{part}." for part in PARTS)
        weights = {k: v for k, v in weights.items() if k.startswith(scope)}
        if not any(k.startswith("encoder.") for k in weights):
            raise CheckpointError(f"{folder / 'latest.pth'}: holds no encoder")
    kind: Kind = "ssl_full" if full else "ssl"
    return _write(run, folder, weights, out / "ssl.zip", kind)


def pack_ctc(run: Run, folder: Path, out: Path) -> Packed:
    """Pack a fine-tuned model: its best checkpoint, tokens inside the configuration.

    Args:
        run: The experiment.
        folder: ``exp/<tag>/finetune_<name>``.
        out: Folder of ``asr_<name>.zip`` and its card.
    """
    weights = read_weights(find_checkpoint(folder))
    name = folder.name.removeprefix("finetune_")
    heads = read_config(folder / CONFIG).get("token_lists")
    kind: Kind = "hierarchical" if heads else "ctc"
    return _write(run, folder, weights, out / f"asr_{name}.zip", kind)


def _write(
    run: Run, folder: Path, weights: Mapping[str, torch.Tensor], path: Path, kind: Kind
) -> Packed:
    """Stage the files under short names, then let ESPnet pack them."""
    from espnet2.main_funcs.pack_funcs import pack

    config = shared_config(read_config(folder / CONFIG), kind)
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = Packed(path, kind, folder, sum(v.numel() for v in weights.values()))
    card = model_card(run, packed, config)
    task = "asr" if kind in RECOGNISERS else "ssl"
    part = path.with_name(f".part-{path.name}")
    # ESPnet names members by their path below the working directory
    with tempfile.TemporaryDirectory() as staging, contextlib.chdir(staging):
        torch.save(dict(weights), MODEL)
        text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
        Path(CONFIG).write_text(text, encoding="utf-8")
        Path(CARD).write_text(card, encoding="utf-8")
        # it prints every member
        with contextlib.redirect_stdout(io.StringIO()):
            pack(
                files={f"{task}_model_file": MODEL},
                yaml_files={f"{task}_train_config": CONFIG},
                option=[CARD],
                outpath=part,
            )
    part.replace(path)
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    size = path.stat().st_size / 2**20
    logging.info(
        "%s: %s, %.2f million numbers, %.1f MiB",
        path.name,
        kind,
        packed.parameters / 1e6,
        size,
    )
    return packed


def shared_config(config: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The configuration without paths, with the tokens themselves inside."""
    kept = {key: config[key] for key in _KEPT if config.get(key) is not None}
    # null is a choice here: no projection
    kept["preencoder"] = config.get("preencoder", "linear")
    if kind not in RECOGNISERS:
        kept["objective"] = config.get("objective", "data2vec")
    kept["espnet2_dq_version"] = __version__
    if kind == "hierarchical":
        lists = token_lists(config)
        sums = {head: tokens_sha256(tokens) for head, tokens in lists.items()}
        return kept | {"token_lists": lists, "token_lists_sha256": sums}
    if kind != "ctc":
        return kept
    tokens = token_list(config)
    return kept | {"token_list": tokens, "token_list_sha256": tokens_sha256(tokens)}


def model_card(run: Run, packed: Packed, config: Mapping[str, Any]) -> str:
    """README.md of a packed model, as Markdown; only what is known stands in it."""
    template = files(__package__).joinpath("templates/model_card.txt")
    engine = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    name = packed.source.name.removeprefix("finetune_")
    data2vec = config.get("objective", "data2vec") == "data2vec"
    branches = [
        branch
        for branch in ("language", "phoneme")
        if data2vec
        and (config.get("model_conf") or {}).get(branch, {}).get("enable", True)
    ]
    text: str = engine.from_string(template.read_text(encoding="utf-8")).render(
        run=run,
        packed=packed,
        config=config,
        recogniser=packed.kind in RECOGNISERS,
        branches=[] if packed.kind in RECOGNISERS else branches,
        scores=run.scores.get(name, {}) if packed.kind == "ctc" else {},
        modes=[row for row in run.modes if row.system == name],
        updates=(run.training.get(packed.source.name) or [{}])[-1].get("update"),
        versions={
            "espnet2_dq": __version__,
            "espnet": espnet_version(),
            "torch": torch.__version__,
        },
    )
    return text
