"""An atlas as ordinary files, a table each: Parquet or CSV, with a card for the Hugging Face Hub."""

from atlas.export.folder import ExportError, Written, export_folder
from atlas.export.pieces import FORMATS, pieces
from atlas.export.source import table_names, whole_table

__all__ = ["FORMATS", "ExportError", "Written", "export_folder", "pieces", "table_names", "whole_table"]
