"""Workflows that come with Gregale, public from the first start."""
