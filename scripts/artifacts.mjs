// Writes the compiled contracts that the program embeds to contracts/artifacts/, or checks that the committed ones are
// what the sources compile to. Run by scripts/contracts.sh after a build.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const contracts = join(import.meta.dirname, "..", "contracts");
const artifacts = join(contracts, "artifacts");

const list = (folder, ending) =>
  existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(ending)).sort() : [];

/**
 * Where the constructor writes the immutable variables into the deployed code: [{name, start, length}], by place. One
 * variable stands at several places; with the name, a reader of deployed code can ask the same value of all of them.
 */
function immutableReferences(references, ast) {
  const names = new Map();
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.nodeType === "VariableDeclaration") names.set(String(node.id), node.name);
    Object.values(node).forEach(visit);
  };
  visit(ast);
  return Object.entries(references ?? {})
    .flatMap(([id, places]) => places.map(({ start, length }) => ({ name: names.get(id), start, length })))
    .sort((a, b) => a.start - b.start);
}

/** name -> text of the artifact, for every contract in src/ and dev/ that has code */
function compiled() {
  const found = new Map();
  for (const folder of ["src", "dev"]) {
    for (const source of list(join(contracts, folder), ".sol")) {
      for (const file of list(join(contracts, "out", source), ".json")) {
        const { abi, ast, bytecode, deployedBytecode } = JSON.parse(
          readFileSync(join(contracts, "out", source, file), "utf8"),
        );
        if (bytecode.object === "0x") continue;
        const artifact = {
          abi,
          bytecode: bytecode.object,
          deployedBytecode: deployedBytecode.object,
          immutableReferences: immutableReferences(deployedBytecode.immutableReferences, ast),
        };
        found.set(file, `${JSON.stringify(artifact, null, 2)}\n`);
      }
    }
  }
  return found;
}

function write() {
  rmSync(artifacts, { recursive: true, force: true });
  const fresh = compiled();
  if (fresh.size > 0) mkdirSync(artifacts);
  for (const [file, text] of fresh) writeFileSync(join(artifacts, file), text);
  console.log(`contracts: ${fresh.size} artifacts written`);
}

function check() {
  const fresh = compiled();
  const problems = [];
  for (const [file, text] of fresh) {
    const path = join(artifacts, file);
    if (!existsSync(path)) problems.push(`${file} is not committed`);
    else if (readFileSync(path, "utf8") !== text) problems.push(`${file} differs from what the sources compile to`);
  }
  for (const file of list(artifacts, ".json")) {
    if (!fresh.has(file)) problems.push(`${file} has no source`);
  }
  for (const problem of problems) console.error(`contracts: ${problem}`);
  if (problems.length > 0) {
    console.error("contracts: run `scripts/contracts.sh artifacts` and commit the result");
    process.exit(1);
  }
  const names = [...fresh.keys()].map((file) => basename(file, ".json"));
  console.log(`contracts: ${names.length === 0 ? "no artifacts to compare yet" : `${names.join(", ")} as committed`}`);
}

const command = { write, check }[process.argv[2]];
if (!command) throw new Error("usage: artifacts.mjs write|check");
command();
