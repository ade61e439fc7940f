// Makes a component of transform.js: `node build.js [OUTPUT]`.
//
// StarlingMonkey is the engine, with all that a transform cannot have turned off, so that nothing of WASI is imported.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize({
  sourcePath: here("transform.js"),
  witPath: here("../wit"),
  worldName: "transform",
  disableFeatures: ["clocks", "fetch-event", "http", "random", "stdio"],
});
await writeFile(process.argv[2] ?? "enrich-filter-split.wasm", component);
