"""Error rates, files for sclite and readable alignments, all without torch."""
