"""Numbers for pages and commands: each page's numbers are of one instant, read in one statement."""
