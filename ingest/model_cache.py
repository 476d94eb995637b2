def read_cached(source):
    from ingest.gguf_file import read_gguf
    return read_gguf(source)
