"""Write our wav2vec 2.0 model as a Hugging Face directory, without transformers.

``Wav2Vec2ForPreTraining.from_pretrained`` loads it, and so does our ``--init_from``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from espnet2_dq.errors import CheckpointError, ConfigError
from espnet2_dq.interop.hf_config import hf_config, preprocessor_config
from espnet2_dq.interop.rename import rename_keys

PARTS = ("frontend.", "preencoder.", "encoder.")
HEADS = ("quantizer.", "project_q.", "final_proj.")


def export_hf(model: nn.Module, config: Mapping[str, Any], out: Path | str) -> Path:
    """Write ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.

    Args:
        model: ``Wav2Vec2SSLModel``. Counters and gauges are left behind.
        config: The configuration it was built from.
        out: Directory; made if missing, its three files are replaced.

    Returns:
        ``out``.

    Raises:
        ConfigError: Not a wav2vec 2.0 model, or a setting Hugging Face has not.
        CheckpointError: The directory holds a run of ours.
    """
    from safetensors.torch import save_file

    objective = config.get("objective")
    if objective != "wav2vec2":
        raise ConfigError(
            f"objective: {objective or 'data2vec'}; only wav2vec2 has a form in Hugging"
            " Face that holds all of its weights"
        )
    folder = Path(out)
    if (folder / "config.yaml").exists():
        raise CheckpointError(
            f"{folder}: holds config.yaml of a run of ours; give another directory"
        )
    state = model.state_dict()
    kept = {k: v for k, v in state.items() if k.startswith((*PARTS, *HEADS))}
    contents = {
        "config.json": hf_config(config),
        "preprocessor_config.json": preprocessor_config(config),
    }
    weights = rename_keys(kept, "to_huggingface")
    folder.mkdir(parents=True, exist_ok=True)
    cpu = {k: v.detach().cpu().float().contiguous() for k, v in weights.items()}
    save_file(cpu, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in contents.items():
        text = json.dumps(content, indent=2, sort_keys=True)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return folder
