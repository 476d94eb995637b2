"""Saved queries: what a visitor's short link stands for, kept in a small file of their own, never in an atlas."""

from web.saved.errors import CrossSite, SavedError, SavedFileError, SavedFull, SavedRefused, SavedUnavailable
from web.saved.query import (
    LONGEST_DESCRIPTION,
    LONGEST_TITLE,
    Drawing,
    Query,
    SavedQuery,
    check_note,
    check_query,
    normal,
)
from web.saved.store import MOST_SAVED, SavedQueries, open_saved

__all__ = [
    "LONGEST_DESCRIPTION",
    "LONGEST_TITLE",
    "MOST_SAVED",
    "CrossSite",
    "Drawing",
    "Query",
    "SavedError",
    "SavedFileError",
    "SavedFull",
    "SavedQueries",
    "SavedQuery",
    "SavedRefused",
    "SavedUnavailable",
    "check_note",
    "check_query",
    "normal",
    "open_saved",
]
