"""`likewise eval …`: data sets run against a service, over HTTP, measured and compared here."""
