"""What is accumulated over the texts: one module a statistic, listed in `statistics`."""
