"""Use cases: what a request means, in terms of encoders and a backend. No HTTP in here."""
