"""The command line: one file per command, errors to exit codes in `exits`, words and numbers in `words`.

Commands import what they need when they run, so that `--help` and a refusal are quick.
"""
