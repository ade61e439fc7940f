import assert from "node:assert/strict";
import { test } from "node:test";

import { Tag } from "./tag.js";

const tag = new Tag({ tag: "web" });

test("a record gets its tag", () => {
  assert.equal(tag.apply('{"b":1,"a":2}'), '{"b":1,"a":2,"tag":"web"}');
});

test("debug records are dropped", () => {
  assert.equal(tag.apply('{"level":"debug"}'), undefined);
});

test("what is no JSON object throws", () => {
  for (const record of ["", "[]", "null", "1"]) assert.throws(() => tag.apply(record));
});

test("a wrong config is refused", () => {
  for (const config of [null, {}, { tag: 1 }]) assert.throws(() => new Tag(config), /tag/);
});
