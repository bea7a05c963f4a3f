"""What the models have learnt: probes, code purity, figures, report, packing."""
