"""Converts a JSON log to Parquet with another program's library, on one thread, and prints its version.

    rivals.py duckdb|pyarrow LOG OUT     converts
    rivals.py duckdb|pyarrow             loads the library and does nothing: what Python itself costs

Exit status: 77 a package is missing, see tests/servers/python-venv.
"""

import sys

COLUMNS = {
    "time": "TIMESTAMP",
    "level": "VARCHAR",
    "host": "VARCHAR",
    "service": "VARCHAR",
    "method": "VARCHAR",
    "path": "VARCHAR",
    "status": "INTEGER",
    "bytes": "BIGINT",
    "latency_ms": "DOUBLE",
    "user_id": "BIGINT",
    "trace_id": "VARCHAR",
    "message": "VARCHAR",
}


def duckdb_converts(paths):
    import duckdb

    print(duckdb.__version__)
    if not paths:
        return
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    log, out = (path.replace("'", "''") for path in paths)
    # With the columns told it need not guess them from a sample, as Hydrant need not.
    read = f"read_json('{log}', format = 'newline_delimited', columns = {COLUMNS})"
    connection.execute(f"COPY (SELECT * FROM {read}) TO '{out}' (FORMAT parquet)")


def pyarrow_converts(paths):
    import pyarrow
    import pyarrow.json
    import pyarrow.parquet

    print(pyarrow.__version__)
    if not paths:
        return
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    types = {
        "TIMESTAMP": pyarrow.timestamp("us", "UTC"),
        "VARCHAR": pyarrow.string(),
        "INTEGER": pyarrow.int32(),
        "BIGINT": pyarrow.int64(),
        "DOUBLE": pyarrow.float64(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    log, out = paths
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=4 << 20)
    with pyarrow.parquet.ParquetWriter(out, schema, compression="snappy") as writer:
        for batch in pyarrow.json.open_json(log, read_options=reading, parse_options=options):
            writer.write_batch(batch)


try:
    {"duckdb": duckdb_converts, "pyarrow": pyarrow_converts}[sys.argv[1]](sys.argv[2:])
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)
