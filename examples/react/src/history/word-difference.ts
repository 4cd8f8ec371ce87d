// Which words two texts differ in.

/** A piece of text: in both, only in the old one, or only in the new one. */
export interface Piece {
  kind: "same" | "old" | "new";
  text: string;
}

/** More edits than this are not looked for: then the texts have little in common, and one replaces the other. */
const MOST_EDITS = 400;

const words = new Intl.Segmenter(undefined, { granularity: "word" });
const wordsOf = (text: string) => Array.from(words.segment(text), ({ segment }) => segment);

/** The pieces in their order; the old text is all but the new ones, and the new text all but the old ones. */
export function difference(oldText: string, newText: string): Piece[] {
  const before = wordsOf(oldText);
  const after = wordsOf(newText);
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;

  const pieces = new Pieces();
  pieces.add("same", before.slice(0, head));
  const [left, right] = [before.slice(head, before.length - tail), after.slice(head, after.length - tail)];
  let [from, to] = [0, 0];
  for (const [x, y] of sameWords(left, right)) {
    pieces.add("old", left.slice(from, x));
    pieces.add("new", right.slice(to, y));
    pieces.add("same", left.slice(x, x + 1));
    [from, to] = [x + 1, y + 1];
  }
  pieces.add("old", left.slice(from));
  pieces.add("new", right.slice(to));
  pieces.add("same", before.slice(before.length - tail));
  return pieces.all;
}

/** Joins neighbours. A space between two changed words counts as changed: that reads better. */
class Pieces {
  all: Piece[] = [];

  add(kind: Piece["kind"], added: string[]): void {
    const text = added.join("");
    if (text === "") return;
    const [change, space] = this.all.slice(-2);
    if (kind !== "same" && space?.kind === "same" && space.text.trim() === "" && change && change.kind !== "same") {
      this.all.pop();
      this.#append("old", space.text);
      this.#append("new", space.text);
    }
    this.#append(kind, text);
  }

  /** To the changes at the end, of which the old ones come first. */
  #append(kind: Piece["kind"], text: string): void {
    const last = this.all.at(-1);
    const place = kind === "old" && last?.kind === "new" ? this.all.length - 1 : this.all.length;
    const neighbour = this.all[place - 1];
    if (neighbour?.kind === kind) neighbour.text += text;
    else this.all.splice(place, 0, { kind, text });
  }
}

/** The places of the words that stay, by the shortest edit script (Myers, 1986). */
function sameWords(before: string[], after: string[]): [number, number][] {
  // How far each diagonal (place in `before` less place in `after`) reaches, after so many edits.
  const reached: Map<number, number>[] = [];
  for (let edits = 0; edits <= MOST_EDITS; edits++) {
    const last = reached.at(-1);
    const reach = new Map<number, number>();
    reached.push(reach);
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      let x = last === undefined ? 0 : startOf(last, diagonal);
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x++;
      reach.set(diagonal, x);
      if (x >= before.length && x - diagonal >= after.length) return wayBack(reached, before.length, after.length);
    }
  }
  return [];
}

/** Where a diagonal begins after one more edit: a word more of `after` came in, or a word of `before` went. */
function startOf(last: Map<number, number>, diagonal: number): number {
  return Math.max(last.get(diagonal + 1) ?? 0, (last.get(diagonal - 1) ?? -1) + 1);
}

function wayBack(reached: Map<number, number>[], x: number, y: number): [number, number][] {
  const same: [number, number][] = [];
  for (let edits = reached.length - 1; edits >= 0; edits--) {
    const last = reached[edits - 1];
    const start = last === undefined ? 0 : startOf(last, x - y);
    while (x > start) same.push([--x, --y]);
    // Undo the edit itself: from the diagonal that reached further.
    if (last?.get(x - y + 1) === x) y--;
    else x--;
  }
  return same.reverse();
}
