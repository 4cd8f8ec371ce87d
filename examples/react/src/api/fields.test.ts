// A refusal's sentence, field by field.
import { expect, test } from "vitest";
import { fieldErrors } from "./fields";

test("each field has what is wrong with it", () => {
  expect(fieldErrors("title: must have a visible character; colour: is not known here")).toEqual({
    title: "must have a visible character",
    colour: "is not known here",
  });
});

test("a field may be one of an array, and its text may have colons and lines", () => {
  expect(fieldErrors("create.3.title: must be a string: at\nmost 255")).toEqual({
    "create.3.title": "must be a string: at\nmost 255",
  });
});

test("a sentence that names no field has none", () => {
  expect(fieldErrors("There is no such task.")).toEqual({});
  expect(fieldErrors("")).toEqual({});
});
