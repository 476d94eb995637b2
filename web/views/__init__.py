"""The pages: each a module with its documented context record beside its view."""
