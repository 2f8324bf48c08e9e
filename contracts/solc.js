#!/usr/bin/env node
// The part of the `solc` command line that forge uses, on top of the compiler's JavaScript build.
"use strict";

const path = require("node:path");
const { readFileSync } = require("node:fs");

const tools = path.join(__dirname, "..", ".tools", "node_modules");
let solc;
try {
  solc = require(path.join(tools, "solc"));
} catch {
  console.error("solc is not installed: run `make tools`");
  process.exit(1);
}

const args = process.argv.slice(2);
if (args.includes("--version")) {
  const version = solc.version().replace(".Emscripten.clang", "");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (args.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`only --version and --standard-json are supported, not: ${args.join(" ")}`);
  process.exit(1);
}
