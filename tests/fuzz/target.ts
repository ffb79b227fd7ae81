/**
 * A target of fuzzing: code that takes input from outside.
 *
 * @module
 */
import type { RandomStream } from "../../kernels/random.ts";
import { NamedError } from "../../lib/errors.ts";

/** Something that reads what a stranger may have written. */
export interface Target {
  name: string;
  /** Prepares the resources of all cases, and frees them in the end. */
  open(folder: string): Promise<OpenTarget>;
}

export interface OpenTarget extends AsyncDisposable {
  /** The input of a case. */
  input(random: RandomStream): Uint8Array<ArrayBuffer>;
  /** Reads it: ends, or throws an error. @throws What assertNamed lets pass. */
  run(input: Uint8Array<ArrayBuffer>, random: RandomStream): Promise<void>;
}

// Texts that no message may have: an unset value, an object, a place in the code.
const CARELESS = /\bundefined\b|\[object |\bNaN\b.*\bNaN\b|\bat \S+\.ts:\d/;

/** Lets an error pass that tells a user what was wrong; throws any other. */
export function assertNamed(
  error: unknown,
  { lines = 1 }: { lines?: number } = {},
): void {
  if (!(error instanceof NamedError)) throw error;
  const { message } = error;
  if (message.split("\n").length > lines || CARELESS.test(message)) {
    throw new Error(`A careless message: ${JSON.stringify(message)}`);
  }
}

/** Runs `work`, whose failure must be told well. */
export async function ends(
  work: () => Promise<unknown>,
  options?: { lines?: number },
): Promise<void> {
  try {
    await work();
  } catch (error) {
    assertNamed(error, options);
  }
}
