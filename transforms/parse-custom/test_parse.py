import json
import time
import unittest

from parse import Malformed, Parser


def parse(line, config=None):
    return Parser(config).parse(line.encode())


class Parsing(unittest.TestCase):
    def test_a_line_becomes_an_event(self):
        event = parse('@1700000000.250 hall-3/door-17 open temp=21.5 n=-3 who="Ada \\"L.\\" \\\\" ok=yes id=007')
        self.assertEqual(event["time"], "2023-11-14T22:13:20.250Z")
        self.assertEqual([event["site"], event["device"], event["event"]], ["hall-3", "door-17", "open"])
        self.assertEqual(event["values"], {"temp": 21.5, "n": -3, "who": 'Ada "L." \\', "ok": True, "id": "007"})

    def test_a_line_may_have_no_values_and_no_fraction(self):
        self.assertEqual(parse("@0 a/b on"), {"time": "1970-01-01T00:00:00Z", "site": "a", "device": "b", "event": "on", "values": {}})

    def test_comments_and_other_sites_are_dropped(self):
        self.assertIsNone(parse("# @0 a/b on"))
        self.assertIsNone(parse("@0 a/b on", {"sites": ["c"]}))
        self.assertIsNotNone(parse("@0 a/b on", {"sites": ["a"]}))

    def test_what_is_no_such_line_says_why(self):
        for line, word in [
            ("", "beginning"), ("hello", "beginning"), ("@1 a b", "beginning"), ("@1 a/b ON", "beginning"),
            ("@1 a/b on x", "character 9"), ("@1 a/b on x=", "character 9"), ('@1 a/b on x="', "character 9"),
            ("@1 a/b on x=1  y=2", "character 13"), ("@1 a/b on x=1 x=2", "twice"), ("@999999999999 a/b on", "range"),
        ]:
            with self.assertRaisesRegex(Malformed, word, msg=line):
                parse(line)
        with self.assertRaisesRegex(Malformed, "UTF-8 at byte 1"):
            Parser(None).parse(b"@\xff")

    def test_every_event_is_json(self):
        for text in ["1e999", "nan", "inf", "9" * 400, "9" * 18 + "." + "9" * 17, '"\\\n"']:
            json.dumps(parse(f"@1 a/b on x={text}"), allow_nan=False)

    def test_no_line_takes_long(self):
        begun = time.process_time()
        for line in ['@1 a/b on x="' + "\\" * 500_001, "@1 a/b on x=" + "9" * 1_000_000, "@1 " + "a" * 1_000_000]:
            try:
                parse(line)
            except Malformed:
                pass
        self.assertLess(time.process_time() - begun, 5)

    def test_a_wrong_config_says_what_is_wrong(self):
        for config, word in [([], "mapping"), ({"site": []}, "`site`"), ({"sites": "a"}, "list"), ({"sites": [1]}, "list")]:
            with self.assertRaisesRegex(ValueError, word):
                Parser(config)


if __name__ == "__main__":
    unittest.main()
