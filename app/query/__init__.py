"""The query language: read, compiled to a plan, and run on one consistent view of a collection."""
