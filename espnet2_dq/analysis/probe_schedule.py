"""Runs the frame-phone probe at set updates of a pretraining run."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espnet2_dq.analysis.frame_probe import FrameProbe


class ProbeSchedule:
    """Probes student and teacher after given shares of the updates.

    Results go into the log, into TensorBoard and into ``probe.jsonl``. Training is
    not disturbed: the random state is restored and the model's mode as well, so that
    a run with a probe ends where one without it ends.

    Args:
        train_dir: Data directory with ``phn.ctm`` to fit on.
        test_dir: Data directory with ``phn.ctm`` of other speakers.
        output_dir: Where ``probe.jsonl`` goes.
        shares: Shares of the updates, in [0, 1].
        updates_total: Updates of the whole run.
        conf: ``networks`` (``student``, ``teacher``), and further arguments of
            :class:`FrameProbe`.
    """

    def __init__(
        self,
        *,
        train_dir: Path,
        test_dir: Path,
        output_dir: Path,
        shares: tuple[float, ...],
        updates_total: int,
        conf: Mapping[str, Any],
    ) -> None:
        self.directories = (train_dir, test_dir)
        self.path = output_dir / "probe.jsonl"
        self.updates = {round(share * updates_total) for share in shares}
        self.conf = dict(conf)
        self.networks: list[str] = list(self.conf.pop("networks", ["student"]))
        self.done: set[int] = set()
        self.probe: FrameProbe | None = None

    def after_update(self, model: Any, summary_writer: Any) -> None:
        """Probe if the model's number of updates is one of the set ones.

        Args:
            model: The pretraining model (``num_updates``, ``layer_features``).
            summary_writer: TensorBoard writer or ``None``.
        """
        update = int(model.num_updates)
        if update not in self.updates or update in self.done:
            return
        self.done.add(update)
        distributed = torch.distributed.is_initialized()
        if distributed and torch.distributed.get_rank() != 0:
            return
        if self.probe is None:
            train_dir, test_dir = self.directories
            grid = model.frame_grid
            self.probe = FrameProbe(train_dir, test_dir, grid=grid, **self.conf)
        was_training = model.training
        model.eval()
        with torch.random.fork_rng():
            records = [self._run(model, update, network) for network in self.networks]
        model.train(was_training)
        with self.path.open("a", encoding="utf-8") as stream:
            for record in records:
                stream.write(json.dumps(record) + "\n")
        if summary_writer is not None:
            for record in records:
                for layer, accuracy in enumerate(record["layer"]):
                    name = f"probe_{record['network']}/layer{layer}"
                    summary_writer.add_scalar(name, accuracy, update)

    def _run(self, model: Any, update: int, network: str) -> dict[str, Any]:
        assert self.probe is not None
        device = next(model.parameters()).device

        def encode(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
            layers, _ = model.layer_features(
                speech.to(device), lengths.to(device), teacher=network == "teacher"
            )
            return list(layers)

        result = self.probe.run(encode)
        layers = " ".join(f"{100 * a:.1f}" for a in result.layer_accuracy)
        logging.info(
            "probe: update %d %s frame-phone accuracy by layer [%%]: %s;"
            " best %.1f (layer %d), majority %.1f, %.0f s",
            update,
            network,
            layers,
            100 * result.best,
            result.best_layer,
            100 * result.majority,
            result.seconds,
        )
        return result.record(update, network)
