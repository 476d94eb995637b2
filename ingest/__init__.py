"""Write an atlas: model and dataset in, one DuckDB file out. The only package that imports torch."""
