// Why fields stay as they are: who changed them later, and when.
import type { Undone } from "../api/client";
import { Time } from "../ui/time";
import { conflictOf, whoIs } from "./words";

export function Conflicts({ conflicts }: { conflicts: Undone["conflicts"] }) {
  return (
    <ul className="undo-sentences">
      {conflicts.map(({ field, actor, timestamp }) => (
        <li key={field}>
          <strong>{whoIs(actor)}</strong> {conflictOf(field)} later, <Time time={timestamp} />.
        </li>
      ))}
    </ul>
  );
}
