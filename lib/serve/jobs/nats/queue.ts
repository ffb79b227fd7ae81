/**
 * The stream of jobs to do. A message hands a job out to one process, and comes
 * again when that was silent for the length of a lease.
 *
 * @module
 */
import { nanos } from "@nats-io/transport-node";
import type { JobKind } from "../store.ts";
import { type Nats, patiently, toldOf } from "./connection.ts";

/** A message that hands out a job. */
export interface Ticket {
  id: string;
  /** Its number: later ones are of later decisions. */
  number: number;
  /** Number of times that it was handed out. */
  deliveries: number;
  /** Where its answers go. */
  reply: string;
}

const SLACK_MS = 2000; // of an answer that is late

/** The queue of all processes. */
export class JobQueue {
  readonly #nats: Nats;

  constructor(nats: Nats) {
    this.#nats = nats;
  }

  /** Queues a job; returns the number of its message. */
  async push(kind: JobKind, id: string): Promise<number> {
    const { js, names } = this.#nats;
    const msgID = crypto.randomUUID(); // a second try queues it once
    const { seq } = await patiently(() =>
      js.publish(names.subjectOf(kind, id), "", { msgID })
    );
    return seq;
  }

  /** The oldest message of a kind; waits for one for at most `waitMs`. */
  async pull(kind: JobKind, waitMs: number): Promise<Ticket | undefined> {
    const { connection, names } = this.#nats;
    const message = await connection.request(
      `$JS.API.CONSUMER.MSG.NEXT.${names.stream}.${names.consumerOf(kind)}`,
      JSON.stringify({ batch: 1, expires: nanos(waitMs) }),
      { timeout: waitMs + SLACK_MS, noMux: true }, // answers come on subjects
    ).catch((error) => {
      throw toldOf(error);
    });
    if (message.headers?.hasError || message.reply === undefined) return;
    return ticketOf(message.subject, message.reply);
  }

  /** Tells that the holder of a ticket lives. */
  extend({ reply }: Ticket): void {
    this.#nats.connection.publish(reply, "+WPI");
  }

  /** Ends a ticket: the job is done, or another has it. */
  done({ reply }: Ticket): void {
    this.#nats.connection.publish(reply, "+ACK");
  }

  /** Gives a ticket back, for `delayMs` later; it is given when it returns. */
  async giveBack({ reply }: Ticket, delayMs = 0): Promise<void> {
    const word = delayMs === 0
      ? "-NAK"
      : `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`;
    await this.#nats.connection.request(reply, word)
      .catch(() => {}); // it comes again when its lease ends
  }

  /** Takes all messages of a job out of the queue. */
  async drop(kind: JobKind, id: string): Promise<void> {
    const { jsm, names } = this.#nats;
    await patiently(() =>
      jsm.streams.purge(names.stream, { filter: names.subjectOf(kind, id) })
    );
  }
}

/**
 * Reads an answer's subject: $JS.ACK.STREAM.CONSUMER.deliveries.number.*.*.*,
 * with a domain and an account before the stream in later servers.
 */
function ticketOf(subject: string, reply: string): Ticket {
  const words = reply.split(".");
  const at = words.length > 9 ? 6 : 4;
  return {
    id: subject.slice(subject.lastIndexOf(".") + 1),
    deliveries: Number(words[at]),
    number: Number(words[at + 1]),
    reply,
  };
}
