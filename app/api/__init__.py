"""HTTP: bytes to requests, results to bytes, errors to problem documents. No rules in here."""
