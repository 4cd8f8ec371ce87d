// Prints what Redocly's recommended rules say about a document, as `redocly lint` does. Nothing is printed if all is well.
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({ extends: ["recommended"] });
for (const problem of await lint({ ref: process.argv[2], config })) {
  console.log(`${problem.severity} ${problem.ruleId}: ${problem.message} (${problem.location[0].pointer})`);
}
