/**
 * The jobs that this process holds, and which of them may be beside each other:
 * a suspect is alone, because the crash that it may cause ends them all.
 *
 * @module
 */
import type { Job } from "../store.ts";
import type { Ticket } from "./queue.ts";

/** A claim of this process. */
export interface HoldOfTicket {
  ticket: Ticket;
  attempts: number;
}

/** The claims of this process whose leases have not run out. */
export class Holds {
  readonly #leaseMs: number;
  readonly #holds = new Map<
    string,
    HoldOfTicket & { isAlone: boolean; until: number }
  >();

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** True while a job runs that must be alone. */
  get isClosed(): boolean {
    return this.#others(undefined).some(({ isAlone }) => isAlone);
  }

  /** Begins a hold; false if it must not be beside the others. */
  begin(id: string, hold: HoldOfTicket, isAlone: boolean): boolean {
    const others = this.#others(id);
    const isFree = isAlone
      ? others.length === 0
      : !others.some(({ isAlone }) => isAlone);
    if (isFree) {
      this.#holds.set(id, { ...hold, isAlone, until: this.#leaseEnd() });
    }
    return isFree;
  }

  /** Renews a hold and returns its ticket, if it is the last of its job. */
  renew({ id, attempts }: Pick<Job, "id" | "attempts">): Ticket | undefined {
    const hold = this.#holds.get(id);
    if (hold?.attempts !== attempts) return undefined;
    hold.until = this.#leaseEnd();
    return hold.ticket;
  }

  /** Ends a hold and returns its ticket, if it is the last of its job. */
  end({ id, attempts }: Pick<Job, "id" | "attempts">): Ticket | undefined {
    const hold = this.#holds.get(id);
    if (hold?.attempts !== attempts) return undefined;
    this.#holds.delete(id);
    return hold.ticket;
  }

  /** Holds of other jobs than `id`. */
  #others(id: string | undefined) {
    const now = performance.now();
    return [...this.#holds].filter(([other, { until }]) =>
      other !== id && until >= now
    ).map(([, hold]) => hold);
  }

  #leaseEnd(): number {
    return performance.now() + this.#leaseMs;
  }
}
