"""Invented rows in the amounts that the console must stay quick with; `manage.py seed_scale` writes them."""
