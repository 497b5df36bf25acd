"""The state store: one SQLite file that remembers everything, written by one process."""
