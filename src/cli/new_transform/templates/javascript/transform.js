// The component: what Hydrant calls, around tag.js, which knows nothing of it.
//
// Always true: each record has exactly one outcome, in order; what throws becomes `processing-failed`.

import { log } from "hydrant:transform/host@1.0.0";

import { Tag } from "./tag.js";

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();
let tag;

/** Called once, with the step's `config` as JSON. The text that is thrown is the error that Hydrant shows. */
export function init(config) {
  try {
    tag = new Tag(JSON.parse(config));
  } catch (error) {
    throw error.message;
  }
  log("debug", `the tag is ${tag.tag}`);
}

/** Called with each batch. */
export function transform(records) {
  return records.map(outcome);
}

function outcome(record) {
  try {
    const text = tag.apply(decoder.decode(record.data));
    if (text === undefined) return { tag: "dropped" };
    return { tag: "ok", val: { data: encoder.encode(text), partitionKeys: [] } };
  } catch (error) {
    return { tag: "processing-failed", val: error.message };
  }
}
