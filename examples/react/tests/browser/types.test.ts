// The types in src/api/schema.d.ts are those of the API as it is now.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { startApi, type Api } from "./support/api";

const FRONTEND = fileURLToPath(new URL("../..", import.meta.url));

let api: Api;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "taskapi-types-"));
  api = await startApi();
  return async () => {
    await api.stop();
    await rm(folder, { recursive: true });
  };
});

test("schema.d.ts is what `npm run types` writes", async () => {
  const made = join(folder, "schema.d.ts");
  const program = join(FRONTEND, "node_modules/openapi-typescript/bin/cli.js");
  await promisify(execFile)(process.execPath, [program, `${api.url}/api/openapi.json`, "--output", made]);
  const isSame = (await readFile(made)).equals(await readFile(join(FRONTEND, "src/api/schema.d.ts")));
  expect(isSame, "src/api/schema.d.ts is out of date: run `npm run types` against the running API").toBe(true);
});
