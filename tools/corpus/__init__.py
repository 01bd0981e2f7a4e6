"""How `helpers/data/written.jsonl.gz` was written: by smollm2, asked for one document after the other."""
