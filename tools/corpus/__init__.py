"""Generate `helpers/data/written.jsonl.gz`: request documents from smollm2 and keep the readable ones."""
