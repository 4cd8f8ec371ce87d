// Where the page and the API of this worker are.
import { inject } from "vitest";

const place = inject("places")[Number(process.env["VITEST_POOL_ID"]) - 1];
if (!place) throw new Error("support/build.ts has no place for this worker");

export const { pageUrl, apiUrl } = place;
