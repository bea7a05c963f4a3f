"""Pretrain data2vec or DQ-Data2vec (stage 6)."""

import sys

from espnet2_dq.bin.training import run_training


def main(argv: list[str] | None = None) -> int:
    """Train; every option of ESPnet's trainer works as well."""
    from espnet2_dq.tasks.ssl import DQSSLTask

    return run_training(DQSSLTask, argv if argv is not None else sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
