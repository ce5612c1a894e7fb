"""HTTP over the operations: paths, verbs, statuses and headers, one file per noun. What the operations do is in `operations/`."""
