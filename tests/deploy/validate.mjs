// Validates the Prometheus operator's objects in a JSON list on standard input. It uses two forms of the operator's own
// types from one package: schemas (for values) and TypeScript declarations (for names: an unknown field is a fault).
// Prints each fault and the number of validated objects. Run it where package.json is installed.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as kinds from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";

const objects = JSON.parse(readFileSync(0, "utf8")).filter((o) => o.apiVersion === "monitoring.coreos.com/v1");
let faults = 0;
for (const object of objects) {
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    faults += 1;
    console.log(`${object.kind}/${object.metadata.name}: ${error.message}`);
  }
}

const folder = mkdtempSync(join(process.cwd(), "check-"));
const source = objects.map((o, n) => `export const o${n}: v1.I${o.kind} = ${JSON.stringify(o, null, 1)};\n`);
writeFileSync(
  join(folder, "objects.ts"),
  `import * as v1 from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";\n${source.join("")}`,
);
const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"];
const tsc = join(process.cwd(), "node_modules/typescript/bin/tsc");
const run = spawnSync(process.execPath, [tsc, ...options, join(folder, "objects.ts")], { encoding: "utf8" });
rmSync(folder, { recursive: true });
if (run.status !== 0) {
  faults += 1;
  console.log(run.stdout);
}
console.log(`${objects.length} validated`);
process.exit(faults === 0 ? 0 : 1);
