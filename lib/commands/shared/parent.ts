/**
 * A process that ends with the one that started it, which tells it on standard
 * input what no list of processes should show.
 *
 * @module
 */
import type { NatsPlace } from "../../serve/jobs/nats/place.ts";
import { INTERRUPTED } from "./terminal.ts";

/** The first line of standard input. */
export interface ParentNote {
  /** Where hosts share frozen features; null if they do not. */
  features: NatsPlace | null;
}

/**
 * Reads the note of the process that started this one, and ends this one when
 * the other end of its standard input is closed: the process that holds that was
 * killed, and nobody else will stop this one.
 */
export async function underParent(): Promise<ParentNote> {
  const reader = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .getReader();
  let text = "";
  while (!text.includes("\n")) text += await next(reader);
  next(reader); // nothing follows but the end
  return JSON.parse(text);
}

async function next(
  reader: ReadableStreamDefaultReader<string>,
): Promise<string> {
  const { value } = await reader.read();
  return value ?? Deno.exit(INTERRUPTED);
}

/** Leaves the note of {@linkcode underParent}, and keeps the input open. */
export async function leaveNote(
  stdin: WritableStream<Uint8Array>,
  note: ParentNote,
): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(`${JSON.stringify(note)}\n`));
  } finally {
    writer.releaseLock();
  }
}
