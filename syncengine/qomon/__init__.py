"""Everything that is spelled Qomon's way: fields, bodies, answers, rate headers."""
