"""Stage 5: what a run will see and cost, from sample counts alone (no audio pass)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet2_dq.data.balance import LanguageShare, format_shares, language_shares
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.errors import ConfigError

FRAMES_PER_S = 50
# Student forward and backward (1 + 2) and the teacher's forward.
PASSES = 4
# Output rates [Hz] and kernels of the waveform frontend's layers after the first.
_CONV_RATES_HZ = (1600, 800, 400, 200, 100, 50)
_CONV_KERNELS = (3, 3, 3, 3, 2, 2)
# What one device sustains at the width of BASE, for the estimate of hours only (the
# CPU's was measured); narrower models use a device less well, about in proportion.
DEVICE_TFLOPS = {"GPU (bf16)": 60.0, "CPU core (bf16)": 0.13}
FULL_WIDTH = 768


@dataclass(frozen=True)
class Plan:
    """What a training configuration asks for.

    Attributes:
        audio_hours_per_update: Padded audio in one optimizer update.
        updates: Optimizer updates of the whole run.
        epochs: Stretches between checkpoints (not passes over the data).
        passes: Times that the run sees as much audio as the training set holds.
    """

    audio_hours_per_update: float
    updates: int
    epochs: int
    passes: float


@dataclass(frozen=True)
class Cost:
    """Estimates from the model's size; they order plans, they promise nothing."""

    parameters_m: float
    gflop_per_audio_s: float
    checkpoint_gib: float
    disk_gib: float
    device_hours: dict[str, float]


def plan_of(config: Mapping[str, Any], train_hours: float) -> Plan:
    """Read batch size and length of the run from a training configuration.

    Raises:
        ConfigError: A key is missing without which the run has no length.
    """
    for key in ("batch_seconds", "max_epoch", "num_iters_per_epoch"):
        if not config.get(key):
            raise ConfigError(f"training configuration: {key} is missing")
    accum = int(config.get("accum_grad") or 1)
    hours = float(config["batch_seconds"]) * accum / 3600
    epochs = int(config["max_epoch"])
    updates = epochs * int(config["num_iters_per_epoch"]) // accum
    return Plan(hours, updates, epochs, hours * updates / max(train_hours, 1e-9))


def cost_of(config: Mapping[str, Any], plan: Plan) -> Cost:
    """Estimate parameters, disk and hours of a run."""
    conf = config.get("encoder_conf") or {}
    width = int(conf.get("output_size", 768))
    inner = int(conf.get("linear_units", 3072))
    blocks = int(conf.get("num_blocks", 12))
    encoder = blocks * (4 * width**2 + 2 * width * inner)
    conv, conv_macs_per_s = _frontend(config)
    parameters = encoder + conv
    flop = 2.0 * PASSES * (encoder * FRAMES_PER_S + conv_macs_per_s)
    total_tflop = flop * plan.audio_hours_per_update * 3600 * plan.updates / 1e12
    weights_gib = 4 * parameters / 2**30
    efficiency = min(1.0, width / FULL_WIDTH)
    # Resuming needs student, teacher and two moments; kept models, the first two.
    checkpoint = 4 * weights_gib
    kept = 1 + _kept_models(config.get("keep_nbest_models", 1))
    return Cost(
        parameters_m=parameters / 1e6,
        gflop_per_audio_s=flop / 1e9,
        checkpoint_gib=checkpoint,
        disk_gib=checkpoint + kept * 2 * weights_gib,
        device_hours={
            name: total_tflop / (speed * efficiency) / 3600
            for name, speed in DEVICE_TFLOPS.items()
        },
    )


def _kept_models(value: Any) -> int:
    return max(value) if isinstance(value, list) else int(value or 1)


def _frontend(config: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters and multiply-adds per second of audio of the frontend."""
    if config.get("frontend", "waveform") != "waveform":
        return 0, 0
    conf = config.get("frontend_conf") or {}
    channels = int(conf.get("channels", 512))
    parameters = channels**2 * sum(_CONV_KERNELS)
    rates = zip(_CONV_RATES_HZ, _CONV_KERNELS, strict=True)
    return parameters, channels**2 * sum(rate * kernel for rate, kernel in rates)


def shares_of(directory: KaldiDir, power: float) -> list[LanguageShare]:
    """Rows of the balance table of a data directory."""
    counts: dict[str, int] = {}
    for utterance in directory:
        counts[utterance.lang] = counts.get(utterance.lang, 0) + 1
    return language_shares(directory.hours(), counts, power)


def summary(
    sets: Mapping[str, KaldiDir], config: Mapping[str, Any], power: float
) -> dict[str, Any]:
    """Everything that the stage says, as a mapping for JSON.

    Args:
        sets: Data directories by name; the first is trained on.
        config: Training configuration.
        power: Exponent of the language balance.
    """
    train = next(iter(sets.values()))
    plan = plan_of(config, sum(train.hours().values()))
    return {
        "sets": {
            name: {
                "utterances": len(directory),
                "speakers": len({u.speaker for u in directory}),
                "hours": directory.hours(),
            }
            for name, directory in sets.items()
        },
        "balance": [asdict(share) for share in shares_of(train, power)],
        "plan": asdict(plan),
        "cost": asdict(cost_of(config, plan)),
    }


def format_summary(content: Mapping[str, Any]) -> str:
    """The same as text."""
    lines = []
    for name, row in content["sets"].items():
        hours = " ".join(f"{lang} {h:.2f}" for lang, h in row["hours"].items())
        lines.append(
            f"{name}: {row['utterances']} utterances, {row['speakers']} speakers, "
            f"{sum(row['hours'].values()):.2f} h ({hours})"
        )
    lines.append(format_shares([LanguageShare(**row) for row in content["balance"]]))
    plan, cost = content["plan"], content["cost"]
    lines.append(
        f"{plan['audio_hours_per_update']:.4f} h of padded audio per update, "
        f"{plan['updates']} updates, {plan['epochs']} checkpoints, "
        f"{plan['passes']:.1f} times the training set"
    )
    hours = ", ".join(
        f"{name} about {value:.2g} h" for name, value in cost["device_hours"].items()
    )
    lines.append(
        f"estimates: {cost['parameters_m']:.1f} M parameters, "
        f"{cost['gflop_per_audio_s']:.1f} GFLOP per second of audio, "
        f"{cost['disk_gib']:.2f} GiB of disk; one {hours}"
    )
    return "\n".join(lines)
