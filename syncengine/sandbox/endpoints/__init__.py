"""What each route of Qomon's API does: one file per kind of thing, each with its `ROUTES`."""
