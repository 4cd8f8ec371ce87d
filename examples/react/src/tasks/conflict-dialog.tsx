// Shows both versions of a task that two people have edited, and lets one choose, field by field.
import { useState } from "react";
import { Dialog } from "../ui/dialog";
import type { Texts } from "./drafts";

interface Props {
  /** What both began with. */
  base: Texts;
  mine: Texts;
  theirs: Texts;
  /** What the API says has changed, who did it and when. */
  sentence: string;
  onChoose: (chosen: Texts) => void;
  onCancel: () => void;
}

const NAMES = { title: "Title", description: "Description" } as const;

export function ConflictDialog({ base, mine, theirs, sentence, onChoose, onCancel }: Props) {
  const fields = (["title", "description"] as const).filter((name) => mine[name] !== theirs[name]);
  const [choice, setChoice] = useState(() => {
    // What I have not touched stays as it is now, unless I choose otherwise.
    const first = (name: keyof Texts) => (mine[name] === base[name] ? "theirs" : "mine");
    return { title: first("title"), description: first("description") };
  });
  const chosen = (name: keyof Texts) => (choice[name] === "mine" ? mine[name] : theirs[name]);

  return (
    <Dialog
      wide
      title="Somebody else has changed this task"
      onClose={onCancel}
      actions={
        <>
          <button type="button" onClick={onCancel}>
            Continue to edit
          </button>
          <button
            type="button"
            className="primary"
            onClick={() => onChoose({ title: chosen("title"), description: chosen("description") })}
          >
            Save what is chosen
          </button>
        </>
      }
    >
      <p className="hint long">{sentence}</p>
      {fields.length === 0 && <p>Both versions have the same texts.</p>}
      {fields.map((name) => (
        <fieldset key={name} className="versions">
          <legend className="label">{NAMES[name]}</legend>
          {(["mine", "theirs"] as const).map((whose) => {
            const text = (whose === "mine" ? mine : theirs)[name];
            return (
              <label key={whose} className="version">
                <span>
                  <input
                    type="radio"
                    name={name}
                    checked={choice[name] === whose}
                    onChange={() => setChoice({ ...choice, [name]: whose })}
                  />
                  {whose === "mine" ? "Yours" : "As it is now"}
                </span>
                <span className="version-text long" dir="auto">
                  {text === "" ? <em>empty</em> : text}
                </span>
              </label>
            );
          })}
        </fieldset>
      ))}
    </Dialog>
  );
}
