// Whether the sentences are true, also for texts that look like the API's own.
import { expect, test } from "vitest";
import type { HistoryEntry, Task } from "../api/client";
import { effectsOf, tell } from "./words";

const entry = (change: Partial<HistoryEntry>): HistoryEntry => ({
  history_id: "h",
  task_id: "t",
  action_type: "UPDATED",
  description: "",
  timestamp: "2026-11-25T07:30:11.000001Z",
  task_title: "Oat milk",
  version: 2,
  actor: "ann",
  request_id: null,
  change_set: null,
  ...change,
});
const task = (title: string): Task => ({
  id: "t",
  title,
  description: null,
  is_completed: false,
  created_at: "",
  updated_at: "",
  completed_at: null,
});
const effect = (description: string, title: string) =>
  effectsOf({ task_id: "t", version: 3, description, task: task(title) });

test("an entry is a sentence", () => {
  expect(tell(entry({ action_type: "INCOMPLETED" }))).toEqual({ who: "ann", did: "reopened" });
  expect(tell(entry({ action_type: "CREATED", actor: null }))).toEqual({ who: "somebody", did: "created" });
  const description = "undo: title: 'Milk' -> 'Oat milk'";
  expect(tell(entry({ description }))).toEqual({ who: "ann", did: "renamed", from: "Milk" });
});

test("a new description is not told whole", () => {
  const did = "changed the description of";
  expect(tell(entry({ description: "description: 'a' -> 'b'" }))).toEqual({ who: "ann", did });
});

test("a change of more than the title is told as the API tells it", () => {
  const details = "title: 'Milk' -> 'Oat milk'; description: none -> 'Oat milk'";
  expect(tell(entry({ description: details }))).toEqual({ who: "ann", did: "changed", details });
});

test("an undo says what it does", () => {
  expect(effectsOf({ task_id: "t", version: 3, description: "undo: title: 'Milk'", task: null })).toEqual([
    { text: "The task will be deleted." },
  ]);
  expect(effect("undo: title: 'Milk'", "Milk")).toEqual([{ text: "The task will be there again." }]);
  expect(effect("undo: 'Milk': is_completed: false -> true", "Milk")).toEqual([
    { text: "It will be completed again." },
  ]);
  expect(effect("undo: title: 'Oat milk' -> 'Milk'", "Milk")).toEqual([{ text: "Title:", from: "Oat milk" }]);
});

test("an undo of several fields says each, and what it cannot take apart as the API says it", () => {
  expect(effect("undo: title: 'Oat milk' -> 'Milk'; 'Milk': is_completed: true -> false", "Milk")).toEqual([
    { text: "Title:", from: "Oat milk" },
    { text: "It will be open again." },
  ]);
  expect(effect("undo: description: none -> 'x'; 'Milk': is_completed: true -> false", "Milk")).toEqual([
    { text: "description: none -> 'x'" },
    { text: "It will be open again." },
  ]);
});
