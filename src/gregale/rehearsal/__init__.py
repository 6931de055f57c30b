"""Workflows without a server, a database or real time: a world in memory on the pure core, and tests written in YAML."""
