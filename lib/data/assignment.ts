/**
 * Puts images that stay together into parts: each label, and what else is to be
 * even, as near to its share of every part as can be; seeded, and independent of
 * the order of the rows.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { DataError } from "../errors.ts";
import type { ManifestEntry } from "./manifest.ts";
import { count } from "./table.ts";

/** Images that stay together, with their count per label and per stratum. */
interface Group {
  entries: ManifestEntry[];
  labels: Map<string, number>;
  /** All that is to be even over the parts, the labels at least. */
  strata: Map<string, number>;
}

/** How images come together, and what is even over the parts. */
export interface Assignment {
  seed: number;
  /** Images that stay together; those of one group by default. */
  units?: (entries: readonly ManifestEntry[]) => ManifestEntry[][];
  /** A unit in words. */
  unit?: string;
  /** What an image counts for, beside its label. */
  stratumOf?: ((entry: ManifestEntry) => string) | undefined;
  /** Exchanges units between parts afterwards, as long as that helps. */
  exchanged?: boolean;
}

/** A part to be filled: `share` of the images. */
export interface Part {
  name: string;
  share: number;
}

/**
 * Index of the part that each image goes to.
 *
 * @throws {DataError} If a class has too few units for the parts.
 */
export function assign(
  entries: readonly ManifestEntry[],
  parts: readonly Part[],
  {
    seed,
    units = byGroup,
    unit = "group of images",
    stratumOf,
    exchanged = false,
  }: Assignment,
): Map<ManifestEntry, number> {
  const groups = units(entries).map((members) => ({
    entries: members,
    labels: countLabels(members),
    strata: countStrata(members, stratumOf),
  }));
  checkGroups(groups, parts, unit);
  const all = countStrata(entries, stratumOf);
  const [wanted] = targets(countLabels(entries), parts);
  const first = order(groups, wanted!, seed);
  const placed = exchanged
    ? bestPlaced(first, () => new Filling(parts, all), seed)
    : place(first, new Filling(parts, all));
  const partOf = new Map(
    placed.flatMap(({ group, part }) =>
      group.entries.map((entry) => [entry, part] as const)
    ),
  );
  checkParts(parts, entries, partOf, unit);
  return partOf;
}

/** Puts each group where it is wanted most, in the order given. */
function place(groups: readonly Group[], filling: Filling): Placed[] {
  return groups.map((group) => {
    const part = filling.bestFor(group);
    filling.add(group, part);
    return { group, part };
  });
}

// Few groups have few ways to be placed, of which many must be tried.
const ATTEMPTS = 16;
const PLACED_IN_ALL = 2000;

/** The best of some attempts, each with another order, and exchanges after it. */
function bestPlaced(
  groups: readonly Group[],
  filling: () => Filling,
  seed: number,
): Placed[] {
  const random = new RandomStream(randomKey(seed, 1));
  const attempts = Math.floor(PLACED_IN_ALL / groups.length);
  let best: Placed[] = [], least = Infinity;
  let order = groups;
  for (let i = 0; i < Math.max(1, Math.min(ATTEMPTS, attempts)); i++) {
    const own = filling();
    const placed = place(order, own);
    exchange(placed, own);
    if (own.distance < least - TIE) {
      best = placed;
      least = own.distance;
    }
    order = random.shuffle([...groups]);
  }
  return best;
}

/** A group, and the index of its part. */
interface Placed {
  group: Group;
  part: number;
}

/** What is in each part so far, by stratum, and what is wanted. */
class Filling {
  readonly #wanted: Map<string, number>[];
  readonly #filled: Map<string, number>[];
  readonly #sizes: number[];

  constructor(parts: readonly Part[], all: Map<string, number>) {
    this.#wanted = targets(all, parts);
    this.#filled = parts.map(() => new Map());
    this.#sizes = parts.map(() => 0);
  }

  /** Number of parts. */
  get parts(): number {
    return this.#sizes.length;
  }

  /** Sum over parts and strata of (filled - wanted)^2 / wanted. */
  get distance(): number {
    let sum = 0;
    for (const [part, wanted] of this.#wanted.entries()) {
      for (const [name, n] of wanted) {
        sum += ((this.#filled[part]!.get(name) ?? 0) - n) ** 2 / n;
      }
    }
    return sum;
  }

  /** The part that a group brings nearest to what is wanted. */
  bestFor({ strata }: Group): number {
    const costs = this.#sizes.map((_, part) => this.cost(strata, part));
    return costs.keys().reduce((a, b) =>
      costs[b]! - costs[a]! < -TIE ||
        (costs[b]! - costs[a]! <= TIE && this.#sizes[b]! < this.#sizes[a]!)
        ? b
        : a
    );
  }

  /** Adds a group to a part; takes it away if `times` is -1. */
  add({ strata, entries }: Group, part: number, times = 1): void {
    const filled = this.#filled[part]!;
    for (const [name, n] of strata) {
      filled.set(name, (filled.get(name) ?? 0) + times * n);
    }
    this.#sizes[part]! += times * entries.length;
  }

  /** Increase of the distance if a part takes `strata`. */
  cost(strata: Map<string, number>, part: number): number {
    const wanted = this.#wanted[part]!, filled = this.#filled[part]!;
    let sum = 0;
    for (const [name, n] of strata) {
      const excess = (filled.get(name) ?? 0) - wanted.get(name)!;
      sum += (n * n + 2 * n * excess) / wanted.get(name)!;
    }
    return sum;
  }
}

// Each exchange brings the parts nearer to their targets, so it ends; this is
// for tables of thousands of sites.
const MAX_ROUNDS = 20;

/**
 * Moves groups to other parts, and exchanges two of different parts, as long as
 * that brings the parts nearer to their targets: sites are few, and so different
 * that the order in which they are placed matters.
 */
function exchange(placed: readonly Placed[], filling: Filling): void {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let isBetter = false;
    for (const one of placed) {
      for (let part = 0; part < filling.parts; part++) {
        if (part === one.part) continue;
        isBetter = moved(filling, [[one, part]]) || isBetter;
      }
      for (const other of placed) {
        if (other.part === one.part) continue;
        isBetter = moved(filling, [[one, other.part], [other, one.part]]) ||
          isBetter;
      }
    }
    if (!isBetter) return;
  }
}

/** Moves groups to other parts if that is better; true if it was. */
function moved(
  filling: Filling,
  moves: readonly (readonly [Placed, number])[],
): boolean {
  const from = moves.map(([{ part }]) => part);
  let change = 0;
  for (const [{ group, part }] of moves) {
    filling.add(group, part, -1);
    change -= filling.cost(group.strata, part);
  }
  for (const [{ group }, to] of moves) {
    change += filling.cost(group.strata, to);
    filling.add(group, to);
  }
  if (change < -TIE) {
    for (const [placed, to] of moves) placed.part = to;
    return true;
  }
  for (const [i, [{ group }, to]] of moves.entries()) {
    filling.add(group, to, -1);
    filling.add(group, from[i]!);
  }
  return false;
}

// Costs closer than this are equal but for rounding.
const TIE = 1e-9;

/** Images of one group; an image without one is alone. */
function byGroup(entries: readonly ManifestEntry[]): ManifestEntry[][] {
  const byName = Map.groupBy(
    entries,
    ({ group, path }) =>
      group === undefined ? `image ${path}` : `group ${group}`,
  );
  return [...byName.values()];
}

function countLabels(entries: readonly ManifestEntry[]): Map<string, number> {
  return countStrata(entries, undefined);
}

/** Images of each label, and of each other stratum. */
function countStrata(
  entries: readonly ManifestEntry[],
  stratumOf: ((entry: ManifestEntry) => string) | undefined,
): Map<string, number> {
  const counts = new Map<string, number>();
  const add = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const entry of entries) {
    for (const name of entry.strata ?? [entry.label]) add(name);
    if (stratumOf) add(stratumOf(entry));
  }
  return counts;
}

/** Target number of images of each stratum in each part: at least one. */
function targets(
  totals: Map<string, number>,
  parts: readonly Part[],
): Map<string, number>[] {
  return parts.map(({ share }) =>
    new Map([...totals].map(([name, n]) => [name, Math.max(1, share * n)]))
  );
}

/**
 * Groups in the order of placement: large ones first, while there is room to
 * balance them; then rare labels; then at random, independent of the order of
 * the rows.
 */
function order(
  groups: Group[],
  wanted: ReadonlyMap<string, number>,
  seed: number,
): Group[] {
  const byName = groups.toSorted((a, b) =>
    firstName(a) < firstName(b) ? -1 : 1
  );
  const rarity = ({ labels }: Group) =>
    Math.min(...labels.keys().map((label) => wanted.get(label)!));
  const label = ({ labels }: Group) => [...labels.keys()].sort()[0]!;
  const random = new RandomStream(randomKey(seed));
  return random.shuffle(byName).sort((a, b) =>
    b.entries.length - a.entries.length || rarity(a) - rarity(b) ||
    (label(a) < label(b) ? -1 : label(a) > label(b) ? 1 : 0)
  );
}

function firstName({ entries }: Group): string {
  return entries.map(({ image }) => image).sort()[0]!;
}

function checkGroups(
  groups: Group[],
  parts: readonly Part[],
  unit: string,
): void {
  const groupsOf = new Map<string, number>();
  for (const { labels } of groups) {
    for (const label of labels.keys()) {
      groupsOf.set(label, (groupsOf.get(label) ?? 0) + 1);
    }
  }
  for (const [label, n] of groupsOf) {
    if (n < parts.length) {
      throw new DataError(
        `Cannot make ${count(parts.length, "part")} (${nameList(parts)}): ` +
          `class "${label}" has only ${counted(n, unit)}; ` +
          `make fewer parts or add images`,
      );
    }
  }
}

/** `2 sites`, `2 groups of images`. */
function counted(n: number, unit: string): string {
  const [noun, ...rest] = unit.split(" ");
  return [count(n, noun!), ...rest].join(" ");
}

function checkParts(
  parts: readonly Part[],
  entries: readonly ManifestEntry[],
  partOf: ReadonlyMap<ManifestEntry, number>,
  unit: string,
): void {
  const labels = [...countLabels(entries).keys()];
  const byPart = Map.groupBy(entries, (entry) => partOf.get(entry)!);
  for (const [p, { name }] of parts.entries()) {
    const own = countLabels(byPart.get(p) ?? []);
    const missing = labels.find((label) => !own.has(label));
    if (missing === undefined) continue;
    throw new DataError(
      `Cannot make ${nameList(parts)}: ${name} has no image of class ` +
        `"${missing}", because its ${
          counted(2, unit).slice(2)
        } are too large; make fewer parts or ` +
        `write the column by hand`,
    );
  }
}

function nameList(parts: readonly Part[]): string {
  return parts.map(({ name }) => name).join(", ");
}
