"""Logging in: how often one may fail, and the password that the first operator is given."""
