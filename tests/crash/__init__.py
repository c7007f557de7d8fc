"""Crashes of a real service: killed at random moments and at every named write point.

    python -m tests.crash [--kills N] [--seed N] [--points a,b] [--keep FOLDER]

A service serves HTTP; threads write to it and keep count of what it acknowledged (`work`); it is
killed with SIGKILL, started again on the same directory, and held against the count (`verify`),
again and again (`rounds`). What SIGKILL cannot show is a power cut: what the kernel had not yet
written is not lost here.
"""
