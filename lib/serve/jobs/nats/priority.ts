/**
 * Leaves training to hosts with a GPU as long as one of them waits for it. A
 * subscription says that one does: it ends with the connection of its process,
 * and NATS answers at once if there is none.
 *
 * @module
 */
import type { Subscription } from "@nats-io/transport-node";
import { GPU_KINDS, type Priority } from "../priority.ts";
import type { JobKind } from "../store.ts";
import type { Nats } from "./connection.ts";

// A host that does not answer in time may have been cut off: not waited for.
const ANSWER_MS = 1000;

/** The priority of hosts with a GPU. */
export class GpuPriority implements Priority {
  readonly #nats: Nats;
  readonly #hasGpu: () => boolean;
  readonly #waiting = new Map<JobKind, Subscription>();

  /** @param hasGpu tells if the engine of this process is on a GPU. */
  constructor(nats: Nats, hasGpu: () => boolean) {
    this.#nats = nats;
    this.#hasGpu = hasGpu;
  }

  wait(kind: JobKind, isWaiting: boolean): void {
    const known = this.#waiting.get(kind);
    const isOffered = isWaiting && GPU_KINDS.includes(kind) && this.#hasGpu();
    if (isOffered === (known !== undefined)) return;
    if (known) {
      known.unsubscribe();
      this.#waiting.delete(kind);
      return;
    }
    const subscription = this.#nats.connection.subscribe(this.#topicOf(kind), {
      queue: "gpu", // one answer is enough
      callback(_, message) {
        message.respond();
      },
    });
    this.#waiting.set(kind, subscription);
  }

  async yields(kind: JobKind): Promise<boolean> {
    if (!GPU_KINDS.includes(kind) || this.#hasGpu()) return false;
    const { connection } = this.#nats;
    try {
      await connection.request(this.#topicOf(kind), "", { timeout: ANSWER_MS });
      return true;
    } catch { // nobody waits, or NATS is away and no job is claimed anyway
      return false;
    }
  }

  #topicOf(kind: JobKind): string {
    return this.#nats.names.noticesOf(`gpu.${kind}`);
  }
}
