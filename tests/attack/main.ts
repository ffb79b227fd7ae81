/**
 * Attacks of minutes, on a server in a process of its own, and what they came
 * to as JSON lines. Those of seconds are tests beside this file.
 *
 *     deno task attack kills [--times 200] [--seed 1]
 *     deno task attack memory [--classifications 10000] [--broken 500]
 *     deno task attack bodies [--bodies 100] [--megabytes 15]
 *     deno task attack costly [--clients 256] [--seconds 20]
 *
 * Ends with 1 if the server did not withstand.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { bodies } from "./bodies.ts";
import { costly } from "./costly.ts";
import { kills } from "./kills.ts";
import { memory } from "./memory.ts";

/** An attack by its numbers. Throws if the server did not withstand it. */
type Attack = (
  numbers: Record<string, number>,
  report: (figures: Record<string, unknown>) => void,
) => Promise<void>;

/** Attacks, and the defaults of their numbers. */
const ATTACKS: Record<
  string,
  { attack: Attack; defaults: Record<string, number> }
> = {
  kills: { attack: kills, defaults: { times: 200, seed: 1 } },
  memory: {
    attack: memory,
    defaults: { classifications: 10_000, broken: 500 },
  },
  bodies: { attack: bodies, defaults: { bodies: 100, megabytes: 15 } },
  costly: { attack: costly, defaults: { clients: 256, seconds: 20 } },
};

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main([name = "", ...args]: string[]): Promise<number> {
  const chosen = ATTACKS[name];
  if (!chosen) {
    console.error(
      `There is no attack "${name}": there are ${
        Object.keys(ATTACKS).join(", ")
      }`,
    );
    return 2;
  }
  const { attack, defaults } = chosen;
  const { values } = parseArgs({
    args,
    options: Object.fromEntries(
      Object.keys(defaults).map((flag) => [flag, { type: "string" as const }]),
    ),
  });
  const numbers = { ...defaults };
  for (const [flag, value] of Object.entries(values)) {
    if (!/^\d+$/.test(String(value))) {
      console.error(`--${flag} is "${value}": write a whole number`);
      return 2;
    }
    numbers[flag] = Number(value);
  }
  try {
    await attack(numbers, (figures) => console.log(JSON.stringify(figures)));
    return 0;
  } catch (error) {
    console.error(error);
    return 1;
  }
}
