// Breaks the contracts on purpose, one rule at a time, and says which of these mutants the tests let live.
//
//   node scripts/mutate.mjs         all of contracts/mutants.mjs: about half an hour
//   node scripts/mutate.mjs TEXT    those whose description holds the text
//
// A mutant that behaves like its contract has the reason beside it, and lives.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { mutants } from "../contracts/mutants.mjs";

const root = join(import.meta.dirname, "..");
const contracts = join(root, "contracts");

const count = (text, part) => text.split(part).length - 1;
const nameOf = (file) => basename(file, ".sol");
const describe = (file, { from, to }) =>
  `${nameOf(file)}: ${from.trim()} -> ${to.trim() || "nothing"}`.replace(/\s+/g, " ");

/** The contract that a test file is about: KeySaleV1Fuzz.t.sol is about KeySaleV1, not KeySale. */
function subjectOf(test) {
  const names = Object.keys(mutants).map(nameOf);
  return names.filter((name) => test.startsWith(name)).sort((a, b) => b.length - a.length)[0];
}

/** A copy of contracts/ without the tests of the other contracts, so that little is compiled for each mutant. */
function copyFor(file) {
  const copy = mkdtempSync(join(tmpdir(), "mutants-"));
  for (const part of ["foundry.toml", "src", "dev", "test"]) {
    cpSync(join(contracts, part), join(copy, part), { recursive: true });
  }
  for (const test of readdirSync(join(copy, "test"))) {
    const isShared = !test.endsWith(".t.sol") || test.endsWith("Base.t.sol");
    if (!isShared && subjectOf(test) !== nameOf(file)) rmSync(join(copy, "test", test));
  }
  return copy;
}

/** Runs the tests; true if they pass. */
function pass(copy) {
  const args = ["test", "--offline", "--use", join(contracts, "solc.js"), "--network", "tempo", "--fail-fast"];
  // Without the optimizer compiling takes half the time, and deploying more gas; a mutant may leave something unused.
  args.push("--no-match-test", "_gas\\(");
  const env = { ...process.env, FOUNDRY_OPTIMIZER: "false", FOUNDRY_DENY: "never" };
  const { status, stdout, stderr } = spawnSync(join(root, ".tools", "bin", "forge"), args, {
    cwd: copy,
    encoding: "utf8",
    env,
  });
  const said = `${stdout}${stderr}`;
  if (said.includes("Compiler run failed")) throw new Error(`does not compile:\n${said}`);
  if (!said.includes("Ran ")) throw new Error(`no tests were run:\n${said}`);
  return status === 0;
}

const only = process.argv[2] ?? "";
const total = { killed: 0, alike: 0 };
const alive = [];
for (const [file, list] of Object.entries(mutants)) {
  const source = readFileSync(join(contracts, file), "utf8");
  for (const mutant of list) {
    const found = count(source, mutant.from);
    if (found !== 1) throw new Error(`${describe(file, mutant)}: found ${found} times`);
  }
  const chosen = list.filter((mutant) => describe(file, mutant).includes(only));
  if (chosen.length === 0) continue;
  const copy = copyFor(file);
  try {
    if (!pass(copy)) throw new Error(`the tests of ${nameOf(file)} fail without a mutant`);
    for (const mutant of chosen) {
      writeFileSync(
        join(copy, file),
        source.replace(mutant.from, () => mutant.to),
      );
      const lives = pass(copy);
      if (!lives) total.killed++;
      else if (mutant.alike) total.alike++;
      else alive.push(describe(file, mutant));
      if (!lives && mutant.alike)
        throw new Error(`${describe(file, mutant)}: is said to behave alike, and fails a test`);
      console.log(`${lives ? (mutant.alike ? "alike " : "LIVES ") : "killed"} ${describe(file, mutant)}`);
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
}
console.log(`${total.killed} killed, ${total.alike} behave alike, ${alive.length} live`);
if (alive.length > 0) process.exit(1);
