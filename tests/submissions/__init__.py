"""Generated submissions: right answers in other styles, wrong answers, hostile code."""
