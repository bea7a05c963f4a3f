"""The one place that knows what differs between ESPnet 202511 and 202611.

It also holds the work-arounds for ESPnet bugs that would bite us, each named.
Importing this module is cheap: nothing of ESPnet is loaded before it is asked for.
"""

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# name -> (module in 202511, module in 202611), below espnet.nets / espnet2.legacy.nets
_NETS = {
    "BeamSearch": "beam_search",
    "Hypothesis": "beam_search",
    "BatchBeamSearch": "batch_beam_search",
    "BatchHypothesis": "batch_beam_search",
    "BatchPartialScorerInterface": "scorer_interface",
    "BatchScorerInterface": "scorer_interface",
    "CTCPrefixScorer": "scorers.ctc",
}


# What training needs of ESPnet; importing it is slow unless parts are deferred.
_TRAINING = {
    "AbsTask": "espnet2.tasks.abs_task",
    "IteratorOptions": "espnet2.tasks.abs_task",
    "optim_classes": "espnet2.tasks.abs_task",
    "Trainer": "espnet2.train.trainer",
    "TrainerOptions": "espnet2.train.trainer",
}

# Modules that the trainer imports for features which we never use (adapters,
# attention plots), and that drag in transformers, text-to-speech and numba:
# 20 s and more at every start of a training.
_DEFERRED = {
    "espnet2.layers.create_adapter": "create_adapter",
    "espnet2.main_funcs.calculate_all_attentions": "calculate_all_attentions",
}


def __getattr__(name: str) -> Any:
    """Import a class of ESPnet from wherever this release has it."""
    if name in _TRAINING:
        _defer_imports()
        return getattr(importlib.import_module(_TRAINING[name]), name)
    if name not in _NETS:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    errors = []
    for root in ("espnet.nets", "espnet2.legacy.nets"):
        try:
            return getattr(importlib.import_module(f"{root}.{_NETS[name]}"), name)
        except ModuleNotFoundError as error:
            errors.append(str(error))
    raise ImportError(f"ESPnet has no {name}: {'; '.join(errors)}")


def _defer_imports() -> None:
    """Put a stand-in for each deferred module, whose function imports it if called."""
    for module_name, function_name in _DEFERRED.items():
        if module_name not in sys.modules:
            module = types.ModuleType(module_name)
            setattr(module, function_name, _importer(module_name, function_name))
            sys.modules[module_name] = module


def _importer(module_name: str, function_name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        sys.modules.pop(module_name, None)
        real = getattr(importlib.import_module(module_name), function_name)
        return real(*args, **kwargs)

    return call


def espnet_version() -> str:
    """Version of the installed ESPnet, as its metadata gives it."""
    import importlib.metadata

    return importlib.metadata.version("espnet")


@contextlib.contextmanager
def atomic_checkpoints() -> Iterator[None]:
    """Make ``torch.save`` to a path atomic while ESPnet's trainer runs.

    Works around the trainer's plain ``torch.save`` of ``checkpoint.pth`` (both
    releases): a kill while it writes left a broken file, and no way to resume.
    """
    import torch

    plain = torch.save

    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            plain(obj, f, *args, **kwargs)
            return
        target = Path(f)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                plain(obj, stream, *args, **kwargs)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    torch.save = save
    try:
        yield
    finally:
        torch.save = plain


# --- decoding -----------------------------------------------------------------------


def stop_search(search: Any, running: Any) -> Any:
    """What ``post_process`` of a search returns when nothing is left to expand.

    Args:
        search: A BeamSearch or BatchBeamSearch that searches one utterance.
        running: The running hypotheses of its last step.
    """
    import torch

    if isinstance(running, list):
        return []
    if hasattr(running, "replace"):  # 202611 asks for a flag per utterance
        return running.replace(done=torch.ones(running.n_utt, dtype=torch.bool))
    return search._batch_select(running, torch.zeros(0, dtype=torch.long))
