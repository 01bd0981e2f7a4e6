"""Building what students get from the masters, running it end to end, and grading what comes back."""
