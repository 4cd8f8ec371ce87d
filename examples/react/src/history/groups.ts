// Puts what belongs together into groups, in the order in which they come.

/** As Map.groupBy, which older browsers do not have. */
export function groups<Item>(items: Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const found = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = found.get(key);
    if (group) group.push(item);
    else found.set(key, [item]);
  }
  return found;
}
