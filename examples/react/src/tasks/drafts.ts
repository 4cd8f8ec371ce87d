// What has been typed and not saved. It outlives its page: another row, another page, a sign-in that expires.
import { session } from "../session/session";
import { Store, useStore } from "../ui/store";

export interface Texts {
  title: string;
  description: string;
}

/** An edit under way: the texts, and the version that they began with. */
export interface Draft {
  texts: Texts;
  base: { texts: Texts; version: number };
}

/** A new task on its way: being saved, or with the reason why it is not. */
export interface Addition {
  key: number;
  title: string;
  problem: string | null;
}

const edits = new Store<ReadonlyMap<string, Draft>>(new Map());
export const useDrafts = (): ReadonlyMap<string, Draft> => useStore(edits);
export const draftOf = (task_id: string): Draft | undefined => edits.get().get(task_id);

/** Keeps what is typed; null forgets it. */
export function keepDraft(task_id: string, draft: Draft | null): void {
  const next = new Map(edits.get());
  if (draft) next.set(task_id, draft);
  else next.delete(task_id);
  edits.set(next);
}

/** What stands in the line for a new task. */
export const newTitle = new Store("");
export const additions = new Store<Addition[]>([]);

session.onOther((isSamePerson) => {
  if (isSamePerson) return;
  edits.set(new Map());
  newTitle.set("");
  additions.set([]);
});

window.addEventListener("beforeunload", (event) => {
  if (edits.get().size > 0 || additions.get().length > 0) event.preventDefault();
});
