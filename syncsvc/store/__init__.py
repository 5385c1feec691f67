"""Statements that the ORM cannot say well: each stands once, named, with its reason and the order of its locks.

Models below know their own table; a statement here may read and write several.
"""
