"""Data sets in the layouts that they are published in. Faults name the file and the line."""
