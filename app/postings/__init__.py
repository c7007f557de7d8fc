"""The inverted index: which slots hold a term, and with what weight."""
