/** What lifelines, scikit-learn and scipy say: fixtures/targets/reference.py. */
import type { Goal } from "../lib/target.ts";

interface CoxGolden {
  risk: number[];
  time: number[];
  event: number[];
  loss: number;
  gradient: number[];
  concordance: number;
  coarseConcordance: number;
}

interface ValueGolden {
  mae: number;
  spearman: number;
  r2: number;
}

interface LabelGolden {
  auc: number;
  averagePrecision: number;
  f1: number;
}

/** The file. */
interface Golden {
  cox: CoxGolden[];
  fitted: {
    rows: { x: number; z: number; time: number; event: number }[];
    coefficients: [number, number];
    loss: number;
  };
  kaplanMeier: Record<
    "time" | "survival" | "low" | "high" | "atRisk",
    number[]
  >;
  values: {
    true: number[];
    said: number[];
    scores: ValueGolden;
    tied: number[];
    tiedScores: ValueGolden;
  };
  grades: {
    true: number[];
    said: number[];
    accuracy: number;
    kappa: number;
    mae: number;
  };
  labels: {
    true: number[][];
    probabilities: number[][];
    thresholds: number[];
    byLabel: LabelGolden[];
    exact: number;
    logLoss: number[];
  };
}

export const GOLDEN: Golden = JSON.parse(
  await Deno.readTextFile(
    new URL("../fixtures/targets/targets.json", import.meta.url),
  ),
);

/** Times and events as goals. */
export function goalsOf(
  { time, event }: Pick<CoxGolden, "time" | "event">,
): Goal[] {
  return time.map((t, i) => [t, event[i]!]);
}
