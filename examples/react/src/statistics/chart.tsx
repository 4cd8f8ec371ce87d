// Bars of what was created and what was completed. The figures stand above them, and in a table below.
import { useId } from "react";
import { Bar, BarChart, CartesianGrid, usePlotArea, XAxis, YAxis, type LabelProps } from "recharts";

interface Props {
  label: string;
  data: Bars[];
  onPick?: (key: string) => void;
}

interface Bars {
  key: string;
  tick: string;
  created: number;
  completed: number;
}

/** The width of a digit, in pixels. */
const DIGIT = 8;
const TEXT = { fill: "var(--text-2)", fontSize: 12 };

export function Chart({ label, data, onPick }: Props) {
  const hatching = useId();
  const ticks = new Map(data.map(({ key, tick }) => [key, tick]));
  const widest = Math.max(...data.flatMap(({ created, completed }) => [created, completed])).toString().length;
  return (
    <figure className={onPick ? "chart can-pick" : "chart"}>
      <Legend />
      <div role="img" aria-label={label}>
        <BarChart
          responsive
          className="chart-bars"
          data={data}
          margin={{ top: 20, right: 0, bottom: 0, left: 0 }}
          barGap={2}
          barCategoryGap="18%"
          // It is one picture: the table is for those who do not see it.
          accessibilityLayer={false}
        >
          <Hatching id={hatching} />
          {onPick && <Columns keys={[...ticks.keys()]} onPick={onPick} />}
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="key"
            tickFormatter={(key: string) => ticks.get(key) ?? ""}
            tick={TEXT}
            tickLine={false}
            axisLine={{ stroke: "var(--line-strong)" }}
            interval="equidistantPreserveStart"
            minTickGap={4}
          />
          <YAxis width="auto" allowDecimals={false} tick={TEXT} tickLine={false} axisLine={false} />
          <Bar
            dataKey="created"
            fill={`url(#${hatching})`}
            stroke="var(--accent)"
            radius={[3, 3, 0, 0]}
            maxBarSize={44}
            isAnimationActive={false}
            label={(props: LabelProps) => <Figure {...props} widest={widest} />}
          />
          <Bar
            dataKey="completed"
            fill="var(--good)"
            stroke="var(--good)"
            radius={[3, 3, 0, 0]}
            maxBarSize={44}
            isAnimationActive={false}
            label={(props: LabelProps) => <Figure {...props} widest={widest} />}
          />
        </BarChart>
      </div>
    </figure>
  );
}

/** The number above a bar, but for 0. There is none where the bars are too narrow for the longest of them. */
function Figure({ x, y, width, value, widest }: LabelProps & { widest: number }) {
  if (value === 0 || Number(width) + 4 < widest * DIGIT) return null;
  return (
    <text x={Number(x) + Number(width) / 2} y={Number(y) - 6} textAnchor="middle" fill="var(--text)" fontSize={12}>
      {value}
    </text>
  );
}

// Recharts reports no click by touch unless the pointer has moved before.
function Columns({ keys, onPick }: { keys: string[]; onPick: (key: string) => void }) {
  const area = usePlotArea();
  if (area === undefined) return null;
  const width = area.width / keys.length;
  return keys.map((key, place) => (
    <rect
      key={key}
      className="chart-column"
      x={area.x + place * width}
      y={area.y}
      width={width}
      height={area.height}
      onClick={() => onPick(key)}
    />
  ));
}

function Hatching({ id }: { id: string }) {
  return (
    <defs>
      <pattern id={id} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="6" height="6" fill="var(--accent-soft)" />
        <rect width="3" height="6" fill="var(--accent)" />
      </pattern>
    </defs>
  );
}

function Legend() {
  return (
    <figcaption className="legend">
      <span>Created</span>
      <span className="of-completed">Completed</span>
    </figcaption>
  );
}
