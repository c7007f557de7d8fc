"""Servers under test over HTTP: each a process of its own, on a port of this machine."""
