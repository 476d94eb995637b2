"""Parts of a page, a module for each topic: the data, the template, the SQL behind it."""
