import assert from "node:assert/strict";
import { test } from "node:test";

import { Orders } from "./orders.js";
import { decode, decodeByHand, encode, encodeByHand } from "./utf8.js";

const CONFIG = { countries: { "+1": "US", "+1242": "BS", "+49": "DE" }, drop_status: ["test"] };

function outcome(value, config = CONFIG) {
  const data = value instanceof Uint8Array ? value : encode(JSON.stringify(value));
  return new Orders(config).outcome({ data, approximateArrivalTimestamp: 1795256998850n });
}

const read = ({ data, partitionKeys }) => ({ ...JSON.parse(decode(data)), partitionKeys });

test("an order is enriched", () => {
  const { tag, val } = outcome({ id: 7, phone: "+1242555" });
  assert.equal(tag, "ok");
  const expected = { id: 7, phone: "+1242555", country: "BS", read_at: "2026-11-21T10:29:58.850Z" };
  assert.deepEqual(read(val), { ...expected, partitionKeys: [["country", "BS"]] });
});

test("an order becomes a record for each of its items", () => {
  const { tag, val } = outcome({ id: 7, items: ["a", { b: "käse 🧀" }] });
  assert.equal(tag, "many");
  assert.deepEqual(val.map(read).map(({ id, index, item, country }) => [id, index, item, country]), [
    [7, 0, "a", "unknown"],
    [7, 1, { b: "käse 🧀" }, "unknown"],
  ]);
  assert.deepEqual(outcome({ items: [] }), { tag: "many", val: [] });
});

test("an order that nobody wants is dropped", () => {
  assert.deepEqual(outcome({ status: "test", items: 1 }), { tag: "dropped" });
});

test("what is no order throws what is wrong", () => {
  for (const text of ["", "{", "1", "null", "[]", "nan"]) assert.throws(() => outcome(encode(text)), /not JSON|not a JSON object/);
  assert.throws(() => outcome(new Uint8Array([0x22, 0xff, 0x22])), /not JSON/);
  assert.throws(() => outcome(encode("[".repeat(1_000_000))), /not JSON/);
  assert.throws(() => outcome({ items: {} }), /items/);
});

test("a wrong config says what is wrong", () => {
  const wrong = [{ country: {} }, { countries: [] }, { drop_status: "test" }, { partition_key: 1 }];
  for (const config of wrong) assert.throws(() => new Orders(config), new RegExp(Object.keys(config)[0]));
});

test("UTF-8 by hand is as the built-in one", () => {
  for (const text of ["", "a%20%", "käse 🧀", "\u0000\u007f\u0080\u07ff\u0800\uffff", "\ud800x", "x".repeat(100_000)]) {
    assert.deepEqual(encodeByHand(text), encode(text));
    assert.equal(decodeByHand(encode(text)), text.toWellFormed());
  }
  for (const bytes of [[0xff], [0xc0, 0x80], [0xe4], [0xed, 0xa0, 0x80]]) {
    assert.throws(() => decodeByHand(new Uint8Array(bytes)));
  }
});
