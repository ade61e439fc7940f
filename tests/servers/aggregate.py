"""Packs records as the KPL does, by the library of the awslabs.

aggregate.py: each line of standard input is an array of records {"partition_key", "explicit_hash_key", "data" in base64}; each line of
standard output is the aggregate's data in base64.
"""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator

for line in sys.stdin:
    aggregator = RecordAggregator()
    for record in json.loads(line):
        data = base64.b64decode(record["data"])
        full = aggregator.add_user_record(record["partition_key"], data, record["explicit_hash_key"])
        assert full is None, "more than one record can hold"
    _, _, data = aggregator.clear_and_get().get_contents()
    print(base64.b64encode(data).decode())
