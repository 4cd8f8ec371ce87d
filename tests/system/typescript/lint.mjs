// Prints what the recommended rules of Redocly and of Spectral say about a document, as `redocly lint` and
// `spectral lint` do. Nothing is printed if all is well.
import { createConfig, lint } from "@redocly/openapi-core";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

const config = await createConfig({ extends: ["recommended"] });
for (const problem of await lint({ ref: process.argv[2], config })) {
  console.log(`${problem.severity} ${problem.ruleId}: ${problem.message} (${problem.location[0].pointer})`);
}

const linter = new spectral.Spectral();
linter.setRuleset({ extends: rulesets.oas });
const document = await (await fetch(process.argv[2])).text();
for (const problem of await linter.run(document)) {
  console.log(`${problem.code}: ${problem.message} (${problem.path.join("/")})`);
}
