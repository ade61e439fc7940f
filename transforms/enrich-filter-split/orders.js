// Enriches, filters and splits orders: one order becomes one record for each of its items.
//
// Always true: an order is one outcome, or it throws what is wrong with it.

import { decode, encode } from "./utf8.js";

const KEYS = ["countries", "drop_status", "partition_key"];

export class Orders {
  /** `config` is the step's. */
  constructor(config) {
    const unknown = Object.keys(config).find((key) => !KEYS.includes(key));
    if (unknown !== undefined) throw new Error(`unknown key \`${unknown}\`; there are ${KEYS.join(", ")}`);
    const { countries = {}, drop_status = [], partition_key = "country" } = config;
    if (!isObject(countries)) throw new Error("`countries` must be a mapping of prefixes to countries");
    if (!Array.isArray(drop_status)) throw new Error("`drop_status` must be a list");
    if (typeof partition_key !== "string") throw new Error("`partition_key` must be a name");
    // The longest prefix first: `+1` is not to hide `+1242`.
    this.countries = Object.entries(countries).sort(([a], [b]) => b.length - a.length);
    this.dropped = new Set(drop_status);
    this.partitionKey = partition_key;
  }

  outcome(record) {
    const { items, ...rest } = parse(record.data);
    if (this.dropped.has(rest.status)) return { tag: "dropped" };
    if (items !== undefined && !Array.isArray(items)) throw new Error("`items` is not a list");
    const order = { ...rest, country: this.country(rest.phone), read_at: readAt(record) };
    if (items === undefined) return { tag: "ok", val: this.output(order) };
    return { tag: "many", val: items.map((item, index) => this.output({ ...order, index, item })) };
  }

  country(phone) {
    const found = this.countries.find(([prefix]) => typeof phone === "string" && phone.startsWith(prefix));
    return found === undefined ? "unknown" : String(found[1]);
  }

  output(value) {
    return { data: encode(JSON.stringify(value)), partitionKeys: [[this.partitionKey, value.country]] };
  }
}

function parse(data) {
  let value;
  try {
    value = JSON.parse(decode(data));
  } catch {
    throw new Error("the record is not JSON");
  }
  if (!isObject(value)) throw new Error("the record is not a JSON object");
  return value;
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function readAt(record) {
  return new Date(Number(record.approximateArrivalTimestamp)).toISOString();
}
