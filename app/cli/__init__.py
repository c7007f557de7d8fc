"""Commands that talk to a running service, or look after its files; `app.__main__` joins them."""
