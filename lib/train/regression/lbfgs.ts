/**
 * Limited-memory BFGS, for small smooth convex functions.
 *
 * Source: Nocedal & Wright, "Numerical Optimization", 2006, algorithms 7.4
 * (the direction) and 3.1 (the step).
 *
 * @module
 */

/** A function and its gradient at a point. */
export interface Evaluated {
  value: number;
  gradient: Float64Array;
}

interface Point extends Evaluated {
  x: Float64Array;
}

/** A move and the change of the gradient along it. */
interface Move {
  step: Float64Array;
  change: Float64Array;
  /** 1 / (step . change). */
  rho: number;
}

const HISTORY = 10; // moves that the curvature is taken from
const MAX_STEPS = 1000;
const SLOPE_SHARE = 1e-4; // of the expected decrease that a step must reach
const MAX_HALVINGS = 40;

/**
 * The minimum of a convex function.
 *
 * @param start is not changed.
 * @param tolerance largest component of the gradient at the minimum.
 */
export function minimise(
  evaluate: (x: Float64Array) => Evaluated,
  start: Float64Array,
  tolerance: number,
): Float64Array {
  const moves: Move[] = [];
  let at: Point = { x: start, ...evaluate(start) };
  for (let step = 0; step < MAX_STEPS; step++) {
    if (at.gradient.every((slope) => Math.abs(slope) <= tolerance)) break;
    const next = lineSearch(evaluate, at, direction(at.gradient, moves));
    if (!next) break; // the rounding of the value hides any decrease
    const move = moveBetween(at, next);
    if (move) moves.push(move);
    if (moves.length > HISTORY) moves.shift();
    at = next;
  }
  return at.x;
}

/** - H g, with the inverse Hessian H that the moves suggest. */
function direction(
  gradient: Float64Array,
  moves: readonly Move[],
): Float64Array {
  const result = gradient.map((slope) => -slope);
  const alphas = moves.toReversed().map(({ step, change, rho }) => {
    const alpha = rho * dot(step, result);
    add(result, change, -alpha);
    return alpha;
  }).reverse();
  const last = moves.at(-1);
  const scale = last
    ? 1 / (last.rho * dot(last.change, last.change))
    : 1 / Math.max(1, Math.sqrt(dot(gradient, gradient)));
  result.forEach((value, i) => result[i] = value * scale);
  moves.forEach(({ step, change, rho }, i) =>
    add(result, step, alphas[i]! - rho * dot(change, result))
  );
  return result;
}

/** The first of a full step, a half, a quarter ... that decreases enough. */
function lineSearch(
  evaluate: (x: Float64Array) => Evaluated,
  { x, value, gradient }: Point,
  along: Float64Array,
): Point | undefined {
  const slope = dot(gradient, along);
  for (let length = 1, i = 0; i < MAX_HALVINGS; length /= 2, i++) {
    const to = x.slice();
    add(to, along, length);
    const found = evaluate(to);
    if (found.value <= value + SLOPE_SHARE * length * slope) {
      return { x: to, ...found };
    }
  }
}

/** None if its curvature is lost in rounding. */
function moveBetween(from: Point, to: Point): Move | undefined {
  const step = to.x.map((value, i) => value - from.x[i]!);
  const change = to.gradient.map((slope, i) => slope - from.gradient[i]!);
  const curvature = dot(step, change);
  return curvature > Number.EPSILON * dot(change, change)
    ? { step, change, rho: 1 / curvature }
    : undefined;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(to: Float64Array, what: Float64Array, times: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += times * what[i]!;
}
