// Writes the client for browsers as one ES module, as a network for scripts delivers it: the package
// of the registry has many CommonJS modules.
//
// Usage: node bundle.cjs; NODE_PATH says where the packages are.

"use strict";

const fs = require("node:fs");
const { createRequire, isBuiltin } = require("node:module");

const modules = new Map();

function add(file) {
  if (modules.has(file)) return;
  const text = fs.readFileSync(file, "utf8");
  const names = {};
  modules.set(file, { text, names });
  const { resolve } = createRequire(file);
  for (const [, name] of text.matchAll(/\brequire\(["']([^"']+)["']\)/g)) {
    if (isBuiltin(name)) continue;
    names[name] = resolve(name);
    add(names[name]);
  }
}

const entry = require.resolve("@nats-io/nats-core");
add(entry);
console.log("const files = {};");
for (const [file, { text, names }] of modules) {
  const body = file.endsWith(".json") ? `module.exports = ${text}` : text;
  console.log(`files[${JSON.stringify(file)}] = [${JSON.stringify(names)}, (module, exports, require) => {`);
  console.log(body);
  console.log("}];");
}
console.log(`
const loaded = {};
function load(file) {
  if (!loaded[file]) {
    const module = (loaded[file] = { exports: {} });
    const [names, run] = files[file];
    run(module, module.exports, (name) => load(names[name]));
  }
  return loaded[file].exports;
}
export const { wsconnect } = load(${JSON.stringify(entry)});`);
