// How many tasks were open, and how many completed: as numbers, and as the parts of a bar.

export function Figures({ open, completed }: { open: number; completed: number }) {
  return (
    <div className="then-figures">
      <div className="then-bar" aria-hidden="true">
        <span className="then-completed" style={{ flexGrow: completed }} />
        <span className="then-open" style={{ flexGrow: open }} />
      </div>
      <dl>
        <div>
          <dt>Completed</dt>
          <dd>{completed}</dd>
        </div>
        <div>
          <dt>Open</dt>
          <dd>{open}</dd>
        </div>
      </dl>
    </div>
  );
}
