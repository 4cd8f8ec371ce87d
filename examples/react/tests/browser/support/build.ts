// Before the browser tests: builds the frontend, and serves it for each worker, with the address of the worker's API in it.
//
// Each worker has a page and an API of its own: `pageUrl` and `apiUrl` of support/place.ts. support/api.ts starts the API.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { preview } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** Where the built frontend is. */
    buildFolder: string;
    /** The origins of each worker's page and API. */
    places: { pageUrl: string; apiUrl: string }[];
  }
}

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** Stands for the API's address until a worker's is put in its place. */
const SOMEWHERE = "http://api.invalid";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "taskapi-frontend-"));
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const each of closers) await each();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const built = join(folder, "built");
    await build(built);
    const places = [];
    for (let worker = 1; worker <= project.vitest.config.maxWorkers; worker++) {
      const [page, api] = [await freePort(), await freePort()];
      const apiUrl = `http://localhost:${api}`;
      const outDir = join(folder, String(worker));
      await cp(built, outDir, { recursive: true });
      await replace(join(outDir, "assets"), SOMEWHERE, apiUrl);
      const server = await preview({
        root: ROOT,
        logLevel: "warn",
        build: { outDir },
        preview: { host: "127.0.0.1", port: page, strictPort: true, open: false },
      });
      closers.push(() => server.close());
      places.push({ pageUrl: `http://localhost:${page}`, apiUrl });
    }
    project.provide("buildFolder", built);
    project.provide("places", places);
    return close;
  } catch (error) {
    await close();
    throw error;
  }
}

async function replace(folder: string, text: string, by: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    await writeFile(path, (await readFile(path, "utf8")).replaceAll(text, by));
  }
}

/** Builds as people do, in a process of its own: Vitest's NODE_ENV would make a development build. */
async function build(folder: string): Promise<void> {
  const vite = join(ROOT, "node_modules/vite/bin/vite.js");
  const child = spawn(process.execPath, [vite, "build", "--logLevel", "warn", "--outDir", folder, "--emptyOutDir"], {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: undefined, VITE_API_URL: SOMEWHERE },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`vite build failed:\n${output}`);
}

/** A port that nobody listens on, below those that the system gives to connections by itself: it stays free. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ port, host: "127.0.0.1" }, () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
