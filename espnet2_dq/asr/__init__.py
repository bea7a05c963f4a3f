"""Speech recognition on the pretrained encoder: CTC fine-tuning."""
