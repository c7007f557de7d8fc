"""Groups of commands, each a module: `app.__main__` puts them together."""
