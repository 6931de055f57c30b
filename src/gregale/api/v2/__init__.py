"""One file per resource: its attributes, its bodies, its endpoints."""
