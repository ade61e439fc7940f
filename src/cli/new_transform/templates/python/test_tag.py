import unittest

from tag import Tag


class Tagging(unittest.TestCase):
    def test_a_record_gets_its_tag(self):
        self.assertEqual(Tag({"tag": "web"}).apply(b'{"b":1,"a":2}'), b'{"b":1,"a":2,"tag":"web"}')

    def test_debug_records_are_dropped(self):
        self.assertIsNone(Tag({"tag": "web"}).apply(b'{"level":"debug"}'))

    def test_what_is_no_json_object_fails(self):
        for record in [b"", b"[]", b'"\xff"']:
            with self.assertRaises(ValueError):
                Tag({"tag": "web"}).apply(record)

    def test_a_wrong_config_is_refused(self):
        for config in [None, {}, {"tag": 1}]:
            with self.assertRaises(ValueError):
                Tag(config)


if __name__ == "__main__":
    unittest.main()
