// The sentence of a 422, taken apart: which field says what.

/** `title: must have a visible character; colour: is not known here` as an object. Empty where it names no field. */
export function fieldErrors(sentence: string): Record<string, string> {
  const errors: Record<string, string> = {};
  for (const part of sentence.split("; ")) {
    const named = /^([\w.-]+): (.+)$/s.exec(part);
    if (named?.[1] !== undefined && named[2] !== undefined) errors[named[1]] = named[2];
  }
  return errors;
}
