// What is typed in a field, until its value changes elsewhere: by a link, or by the back button.
import { useState } from "react";

export function useTyped(value: string) {
  const [typed, setTyped] = useState(value);
  const [seen, setSeen] = useState(value);
  if (value !== seen) {
    setSeen(value);
    setTyped(value);
  }
  return [typed, setTyped] as const;
}
