"""Error rates, transcripts for sclite and readable alignments; nothing here imports torch."""
