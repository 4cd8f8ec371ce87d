// Whose list a token opens.
import { expect, test, vi } from "vitest";
import { ownerOf } from "./session";

vi.hoisted(() => vi.stubGlobal("sessionStorage", { getItem: () => null }));

const jwt = (claims: unknown) =>
  `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

test.each([
  [{ sub: "ann" }, "ann"],
  [{ sub: "4711", email: "ann@example.com" }, "ann@example.com"],
  [{ sub: "4711", email: "ann@example.com", name: "Ann" }, "Ann"],
  [{ sub: "4711", email: "", name: null }, "4711"],
  [{ sub: "Zoë 🧀 ÿ?>" }, "Zoë 🧀 ÿ?>"],
  [{ sub: 7 }, null],
  [[], null],
  [null, null],
])("of a JWT with %j: %s", (claims, owner) => {
  expect(ownerOf(jwt(claims))).toBe(owner);
});

test.each(["secret", "", "a.b", "a.b.c", "a.!.c", "..", "a.eyJzdWIiOiJhbm4ifQ.c.d"])("%j is no JWT", (token) => {
  expect(ownerOf(token)).toBeNull();
});
