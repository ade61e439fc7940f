"""Parses the lines of a sensor gateway.

    @1700000000.250 hall-3/door-17 open temp=21.5 who="Ada L." ok=yes

becomes

    {"time": "2023-11-14T22:13:20.250Z", "site": "hall-3", "device": "door-17", "event": "open",
     "values": {"temp": 21.5, "who": "Ada L.", "ok": true}}

A line that begins with `#` is a comment.
"""

import re
from datetime import datetime, timezone

# No part can match in two ways, so that no line takes more than linear time.
HEAD = re.compile(r"@([0-9]{1,12})(?:\.([0-9]{1,6}))? ([^/ ]+)/([^/ ]+) ([a-z_]+)")
VALUE = re.compile(r' ([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^ "]+)', re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")


class Malformed(Exception):
    """The record is not such a line; the message says where."""


class Parser:
    """`config`: `{ sites: [hall-3] }` drops the lines of all other sites."""

    def __init__(self, config):
        config = {} if config is None else config
        if not isinstance(config, dict):
            raise ValueError("expected a mapping, for example `{ sites: [hall-3] }`")
        unknown = sorted(config.keys() - {"sites"})
        if unknown:
            raise ValueError(f"unknown key `{unknown[0]}`; there is `sites`")
        sites = config.get("sites")
        if sites is not None and not (isinstance(sites, list) and all(isinstance(site, str) for site in sites)):
            raise ValueError("`sites` must be a list of names")
        self.sites = None if sites is None else frozenset(sites)

    def parse(self, data):
        """Gives the event, `None` for a line that nobody wants; raises `Malformed`."""
        try:
            line = data.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"expected UTF-8 at byte {error.start}") from None
        if line.startswith("#"):
            return None
        head = HEAD.match(line)
        if head is None:
            raise Malformed("expected `@seconds site/device event` at the beginning")
        seconds, fraction, site, device, event = head.groups()
        if self.sites is not None and site not in self.sites:
            return None
        values = parse_values(line, head.end())
        return {"time": timestamp(seconds, fraction), "site": site, "device": device, "event": event, "values": values}


def timestamp(seconds, fraction):
    try:
        whole = datetime.fromtimestamp(int(seconds), timezone.utc)
    except (OverflowError, ValueError, OSError):
        raise Malformed("the time is out of range") from None
    digits = "" if fraction is None else f".{fraction}"
    return whole.strftime("%Y-%m-%dT%H:%M:%S") + digits + "Z"


def parse_values(line, at):
    values = {}
    while at < len(line):
        found = VALUE.match(line, at)
        if found is None:
            raise Malformed(f"expected ` name=value` at character {at}")
        name, text = found.groups()
        if name in values:
            raise Malformed(f"`{name}` stands twice, at character {at}")
        values[name] = value(text)
        at = found.end()
    return values


def value(text):
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    if text in ("yes", "no"):
        return text == "yes"
    number = NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[1] is None else float(text)
