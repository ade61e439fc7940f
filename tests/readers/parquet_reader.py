"""Prints the rows of Parquet files as JSON, a line for each file, independently of the library that wrote them.

    parquet_reader.py pyarrow|duckdb FILE…

Timestamps are microseconds since 1970, dates text, decimals text, maps objects.

Exit status: 0 read; 77 a package is missing, see tests/servers/python-venv.
"""

import datetime
import decimal
import json
import sys

try:
    import duckdb
    import pyarrow
    import pyarrow.parquet
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

EPOCH = datetime.datetime(1970, 1, 1)


def plain(value, kind):
    if value is None:
        return None
    if pyarrow.types.is_map(kind):
        pairs = value.items() if isinstance(value, dict) else value
        return {key: plain(item, kind.item_type) for key, item in pairs}
    if pyarrow.types.is_list(kind):
        return [plain(item, kind.value_type) for item in value]
    if pyarrow.types.is_struct(kind):
        return {field.name: plain(value[field.name], field.type) for field in kind}
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=None) - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.date):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def rows(reader, path):
    schema = pyarrow.parquet.read_schema(path)
    if reader == "pyarrow":
        table = pyarrow.parquet.read_table(path, coerce_int96_timestamp_unit="us")
        table = table.to_pylist()
    else:
        connection = duckdb.connect()
        # Without it a timestamp with a zone needs a package for zones.
        columns = ", ".join(
            f'"{field.name}"::TIMESTAMP AS "{field.name}"' if pyarrow.types.is_timestamp(field.type) else f'"{field.name}"'
            for field in schema
        )
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(f"SELECT {columns} FROM read_parquet(?)", [path])
        names = [column[0] for column in cursor.description]
        table = [dict(zip(names, row)) for row in cursor.fetchall()]
    return [{field.name: plain(row[field.name], field.type) for field in schema} for row in table]


for path in sys.argv[2:]:
    print(json.dumps(rows(sys.argv[1], path)))
