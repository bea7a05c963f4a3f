"""Entry points, one per verb: parse, call, exit code."""
