"""Serve atlas files as a site: pages that work without JavaScript, and the same data as JSON."""

from web.app import create_app

__all__ = ["create_app"]
