"""Frontends and the Transformer encoder shared by pretraining and fine-tuning."""
