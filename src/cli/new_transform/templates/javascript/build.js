// Makes a component of transform.js: `node build.js [OUTPUT]`.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize({
  sourcePath: here("transform.js"),
  witPath: here("wit"),
  worldName: "transform",
  // A transform has no network and no files: what is turned off is not imported.
  disableFeatures: ["clocks", "fetch-event", "http", "random", "stdio"],
});
await writeFile(process.argv[2] ?? "{{name}}.wasm", component);
