"""Convert a fairseq checkpoint (a pickle) to ``.safetensors`` without running it.

    python -m espnet2_dq.interop.fairseq_pickle old.pt new.safetensors

Pickles can call any function, and fairseq's hold argument namespaces and objects of
fairseq itself. :func:`convert` reads them in a process of its own, with an unpickler
that knows tensors, plain containers and ``argparse.Namespace``; every other name
becomes an inert stub. What comes back is data only: the tensors, and the settings as
JSON in the metadata of the new file.

This file is run as a script in that process (``python -I``), so it imports nothing of
ours at the top.
"""

import argparse
import collections
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SETTINGS = "fairseq_settings"
_MAX_DEPTH = 12
# What may be called while unpickling; all of it only builds tensors and containers.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("argparse", "Namespace"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Half", "Double", "BFloat16")),
    *(("torch", f"{kind}Storage") for kind in ("Long", "Int", "Short", "Char")),
    *(("torch", f"{kind}Storage") for kind in ("Byte", "Bool")),
}


class Stub:
    """Stands for an object of an unknown class: keeps its arguments, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Stub":
        """Take any arguments, as any class may be built in any way."""
        stub = super().__new__(cls)
        stub.stub_args = args
        stub.stub_state = None
        return stub

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    stub_args: tuple[Any, ...]
    stub_state: Any

    def __setstate__(self, state: Any) -> None:
        self.stub_state = state

    def __call__(self, *args: Any, **kwargs: Any) -> "Stub":
        """A call gives another stub."""
        return Stub(*args)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Items of a list subclass are dropped."""

    def extend(self, values: Any) -> None:
        """See :meth:`append`."""

    def add(self, value: Any) -> None:
        """See :meth:`append`."""


class Unpickler(pickle.Unpickler):
    """Finds the names of ``_ALLOWED``; all others are :class:`Stub`."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of a pickle's name, or a stub."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("argparse", "Namespace"):
            return argparse.Namespace
        if (module, name) in _ALLOWED:
            import torch
            import torch._utils

            return getattr(torch._utils if "_utils" in module else torch, name)
        return type(name.rpartition(".")[2] or "Stub", (Stub,), {})


def load(stream: Any, **options: Any) -> Any:
    """``pickle.load`` with :class:`Unpickler`: torch asks its pickle module for it."""
    return Unpickler(stream, **options).load()


def convert(source: str | Path, target: str | Path) -> None:
    """Write the weights and settings of a fairseq file as ``.safetensors``.

    The pickle is read in a separate process without the user's environment and
    working directory on its path.

    Args:
        source: File of ``torch.save``, zip or older format.
        target: New file; metadata ``fairseq_settings`` holds JSON.

    Raises:
        CheckpointError: Not such a file, or no weights in it.
    """
    from espnet2_dq.errors import CheckpointError

    command = [sys.executable, "-I", str(Path(__file__).resolve())]
    command += [str(Path(source).resolve()), str(Path(target).resolve())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not Path(target).is_file():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CheckpointError(
            f"{source}: cannot be converted ({lines[-1]}); expected a file of"
            " torch.save with a dictionary whose key 'model' holds the weights"
        )


def read_restricted(path: Path) -> Any:
    """Content of a torch file with stubs for all that is not plain data.

    Raises:
        ValueError: A format that would run code, or no torch file.
    """
    import torch

    if tarfile.is_tarfile(path):
        raise ValueError("tar archives of torch before 0.1.10 are not read")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError("it is a TorchScript archive, which holds code")
    module = sys.modules[__name__]
    return torch.load(
        path, map_location="cpu", pickle_module=module, weights_only=False
    )


def plain(value: Any, depth: int = 0) -> Any:
    """JSON form of settings; tensors and what stays unknown become ``None``."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Stub):
        return _plain_stub(value, depth)
    if isinstance(value, Mapping):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item, depth + 1) for item in value]
    return None


def _plain_stub(stub: Stub, depth: int) -> Any:
    """Value of an enum (its only argument), or content of an OmegaConf node."""
    state = stub.stub_state
    if isinstance(state, tuple) and state and isinstance(state[0], Mapping):
        state = state[0]
    if isinstance(state, Mapping):
        for key in ("_content", "_val"):
            if key in state:
                return plain(state[key], depth + 1)
    if len(stub.stub_args) == 1:
        return plain(stub.stub_args[0], depth + 1)
    return None


def main(argv: list[str] | None = None) -> int:
    """Convert in this very process; :func:`convert` is the way to call it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args(argv)
    import torch
    from safetensors.torch import save_file

    try:
        content = read_restricted(args.source)
        model = content.get("model") if isinstance(content, Mapping) else None
        weights = {
            str(name): value.detach().clone().contiguous()
            for name, value in (model.items() if isinstance(model, Mapping) else ())
            if type(value) in (torch.Tensor, torch.nn.Parameter)
        }
        if not weights:
            raise ValueError("its key 'model' holds no tensors")
        settings = {key: plain(content.get(key)) for key in ("args", "cfg")}
        save_file(weights, args.target, metadata={SETTINGS: json.dumps(settings)})
    except Exception as error:  # whatever a broken pickle makes happen
        message = str(error).splitlines() or [""]
        print(f"{type(error).__name__}: {message[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
