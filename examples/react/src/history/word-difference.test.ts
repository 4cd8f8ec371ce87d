// Whether the difference of two texts is right, small and quick.
import { expect, test } from "vitest";
import { difference, type Piece } from "./word-difference";

const shown = (pieces: Piece[]) =>
  pieces.map(({ kind, text }) => ({ same: text, old: `[-${text}-]`, new: `{+${text}+}` })[kind]).join("");
const side = (pieces: Piece[], kind: "old" | "new") =>
  pieces
    .filter((piece) => piece.kind === "same" || piece.kind === kind)
    .map(({ text }) => text)
    .join("");

test.each([
  ["", "", ""],
  ["Buy milk", "Buy milk", "Buy milk"],
  ["", "Buy milk", "{+Buy milk+}"],
  ["Buy milk", "", "[-Buy milk-]"],
  ["Buy milk", "Buy oat milk", "Buy {+oat +}milk"],
  ["Buy oat milk today", "Buy milk", "Buy [-oat -]milk[- today-]"],
  ["one two three four", "one 2 3 four", "one [-two three-]{+2 3+} four"],
  ["a b c", "c b a", "[-a-]{+c+} b [-c-]{+a+}"],
  ["first line\nsecond line", "first line\n2nd line", "first line\n[-second-]{+2nd+} line"],
])("%j to %j", (before, after, expected) => {
  expect(shown(difference(before, after))).toBe(expected);
});

test("both texts can be read from it, whatever they are", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const letters = ["a", "b", " ", "é", "\n", ", ", "👍🏽"];
  const text = () => Array.from({ length: random(30) }, () => letters[random(7)]).join("");
  for (let round = 0; round < 2000; round++) {
    const [before, after] = [text(), text()];
    const pieces = difference(before, after);
    expect(side(pieces, "old")).toBe(before);
    expect(side(pieces, "new")).toBe(after);
    for (const [at, { kind }] of pieces.entries()) expect(pieces[at + 1]?.kind).not.toBe(kind);
  }
});

test("the longest descriptions do not keep anybody waiting", () => {
  const before = Array.from({ length: 2500 }, (_, at) => "abcdefghij"[at % 10]).join(" ");
  const after = Array.from({ length: 2500 }, (_, at) => "qrstuvwxyz"[(at * 7) % 10]).join(" ");
  const begun = performance.now();
  expect(shown(difference(before, after))).toBe(`[-${before}-]{+${after}+}`);
  difference(before, before.split(" ").reverse().join(" "));
  expect(performance.now() - begun).toBeLessThan(1000);
});
