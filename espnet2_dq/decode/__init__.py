"""From CTC posteriors to tokens: greedy and prefix beam search, times and scores."""
