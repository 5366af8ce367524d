"""Measurements behind the tables of docs/."""
