// How the frontend is built, and which tests there are: unit tests beside the code; with a real browser and a real API,
// those of tests/browser; and what is measured, in tests/speed.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const withBrowser = {
  globalSetup: "tests/browser/support/build.ts",
  // One browser for all files of a worker.
  isolate: false,
  testTimeout: 60_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 15_000 } },
};

export default defineConfig({
  plugins: [react()],
  build: { target: "es2022" },
  test: {
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: "unit", include: ["src/**/*.test.ts"] } },
      { extends: true, test: { name: "browser", include: ["tests/browser/**/*.test.ts"], ...withBrowser } },
      {
        extends: true,
        test: { name: "speed", include: ["tests/speed/**/*.test.ts"], fileParallelism: false, ...withBrowser },
      },
    ],
  },
});
