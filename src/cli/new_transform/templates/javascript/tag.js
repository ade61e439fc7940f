// Adds a member `tag` to JSON records, and drops those that have `"level":"debug"`. Put what you need in its place.

export class Tag {
  /** `config` is the step's: `{ tag: text }`. */
  constructor(config) {
    if (typeof config?.tag !== "string") throw new Error("`tag` must be a text, for example `config: { tag: web }`");
    this.tag = config.tag;
  }

  /** Gives the record with its tag, `undefined` for one that nobody wants; throws what is wrong with it. */
  apply(record) {
    const value = JSON.parse(record);
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("the record is not a JSON object");
    return value.level === "debug" ? undefined : JSON.stringify({ ...value, tag: this.tag });
  }
}
