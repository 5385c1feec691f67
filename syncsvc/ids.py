"""Ids as people type them and addresses have them."""

import uuid


def uuid_of(text: str) -> uuid.UUID | None:
    """The UUID that the text is, in any of its spellings; None where it is none."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
