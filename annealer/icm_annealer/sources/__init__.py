"""Files, pipes and addresses to rows: bytes, encodings, dialects of CSV, workbooks."""
