// The figures of a chart as a table, in which a week can be opened, too.

interface Props {
  caption: string;
  /** What a row is. */
  unit: string;
  rows: { key: string; name: string; created: number; completed: number }[];
  onPick?: (key: string) => void;
}

export function ChartTable({ caption, unit, rows, onPick }: Props) {
  return (
    <details>
      <summary>Show as a table</summary>
      <table>
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">{unit}</th>
            <th scope="col">Created</th>
            <th scope="col">Completed</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, name, created, completed }) => (
            <tr key={key}>
              <th scope="row">
                {onPick ? (
                  <button type="button" className="quiet" onClick={() => onPick(key)}>
                    {name}
                  </button>
                ) : (
                  name
                )}
              </th>
              <td>{created}</td>
              <td>{completed}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
