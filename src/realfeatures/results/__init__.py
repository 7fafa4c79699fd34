"""Numbers: results.json whole, intervals, verdicts and drift; no words on a page, no drawing."""
