"""Adds a member `tag` to JSON records, and drops those that have `"level":"debug"`. Put what you need in its place."""

import json


class Tag:
    def __init__(self, config):
        """`config` is the step's: `{ tag: text }`."""
        tag = config.get("tag") if isinstance(config, dict) else None
        if not isinstance(tag, str):
            raise ValueError("`tag` must be a text, for example `config: { tag: web }`")
        self.tag = tag

    def apply(self, record):
        """Gives the record with its tag, `None` for one that nobody wants; raises `ValueError` for a wrong one."""
        members = json.loads(record)
        if not isinstance(members, dict):
            raise ValueError("the record is not a JSON object")
        if members.get("level") == "debug":
            return None
        members["tag"] = self.tag
        return json.dumps(members, separators=(",", ":")).encode()
