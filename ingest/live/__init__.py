"""The process that holds a model for `atlas serve --live` and answers what visitors ask of it (see
`atlas.records.live`). The site reaches it by the entry points `atlas.live`, so that it need not import this package."""
