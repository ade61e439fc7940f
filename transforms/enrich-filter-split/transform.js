// The component: what Hydrant calls, around orders.js, which knows nothing of it.
//
// Always true: each record has exactly one outcome, in order, whatever is in it: what throws becomes `processing-failed`.

import { log } from "hydrant:transform/host@1.0.0";

import { Orders } from "./orders.js";

let orders;

/** Called once, with the step's `config` as JSON. The text that is thrown is the error that Hydrant shows. */
export function init(json) {
  try {
    orders = new Orders(JSON.parse(json) ?? {});
  } catch (error) {
    throw error.message;
  }
  log("debug", `${orders.countries.length} countries`);
}

/** Called with each batch. */
export function transform(records) {
  return records.map((record) => {
    try {
      return orders.outcome(record);
    } catch (error) {
      return { tag: "processing-failed", val: error.message };
    }
  });
}
