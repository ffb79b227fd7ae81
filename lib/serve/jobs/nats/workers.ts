/**
 * The processes of all hosts. What each tells of itself is a key of a bucket
 * whose entries end by themselves; the marks of drained hosts are among the
 * records of jobs, where they stay.
 *
 * @module
 */
import { type KV, Kvm } from "@nats-io/kv";
import { byName, type Workers, type WorkerStatus } from "../workers.ts";
import { type Nats, patiently, toldOf } from "./connection.ts";

// Three times as long as from one telling to the next.
const KEEP_MS = 15_000;
const DRAINED_KEYS = "drained.";
const DRAIN_TOPIC = "drain";

/** What all processes tell of themselves. */
export class NatsWorkers implements Workers {
  readonly #nats: Nats;
  readonly #told: KV;
  readonly #key = crypto.randomUUID();

  private constructor(nats: Nats, told: KV) {
    this.#nats = nats;
    this.#told = told;
  }

  /** @throws {NotReadyError} If NATS is away. */
  static async open(nats: Nats): Promise<NatsWorkers> {
    const { js, names, replicas } = nats;
    const told = await patiently(() =>
      new Kvm(js).create(names.workers, {
        history: 1,
        replicas,
        ttl: KEEP_MS,
      })
    );
    return new NatsWorkers(nats, told);
  }

  async tell(status: WorkerStatus): Promise<void> {
    await this.#asked(this.#told.put(this.#key, JSON.stringify(status)));
  }

  async leave(): Promise<void> {
    await this.#asked(this.#told.delete(this.#key));
  }

  async list(): Promise<WorkerStatus[]> {
    const found = await Promise.all(
      (await this.#keysOf(this.#nats.names.workers, "")).map(async (key) => {
        const entry = await this.#asked(this.#told.get(key));
        return entry?.operation === "PUT" ? [entry.json<WorkerStatus>()] : []; // it has left
      }),
    );
    return found.flat().sort(byName);
  }

  async isDrained(host: string): Promise<boolean> {
    const { records } = this.#nats;
    const entry = await patiently(() => records.get(keyOfHost(host)));
    return entry?.operation === "PUT";
  }

  onDrain(listener: (host: string) => void): void {
    const { connection, names } = this.#nats;
    connection.subscribe(names.noticesOf(DRAIN_TOPIC), {
      callback: (_, message) => listener(message.string()),
    });
  }

  /** Lets a host do no jobs, or do them again, and tells its processes. */
  async setDrained(host: string, isDrained: boolean): Promise<void> {
    const { records, connection, names } = this.#nats;
    const key = keyOfHost(host);
    await (isDrained
      ? this.#asked(records.put(key, host))
      : this.#asked(records.purge(key)));
    connection.publish(names.noticesOf(DRAIN_TOPIC), host);
    await this.#asked(connection.flush());
  }

  /** Names of the drained hosts, also of those that are away. */
  async drainedHosts(): Promise<string[]> {
    const { names, records } = this.#nats;
    const hosts = await Promise.all(
      (await this.#keysOf(names.bucket, DRAINED_KEYS)).map(async (key) => {
        const entry = await this.#asked(records.get(key));
        return entry?.operation === "PUT" ? [entry.string()] : [];
      }),
    );
    return hosts.flat().sort();
  }

  /** Keys of a bucket that begin with `prefix`, also those that were deleted. */
  async #keysOf(bucket: string, prefix: string): Promise<string[]> {
    const keys = `$KV.${bucket}.`;
    const { state } = await this.#asked(
      this.#nats.jsm.streams.info(`KV_${bucket}`, {
        subjects_filter: `${keys}${prefix}>`,
      }),
    );
    return Object.keys(state.subjects ?? {}).map((key) =>
      key.slice(keys.length)
    );
  }

  /** One try: what is told or shown is soon told or shown again. */
  async #asked<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw toldOf(error);
    }
  }
}

/** Key of a host's mark; its name may have what no key has. */
function keyOfHost(host: string): string {
  const coded = btoa(host).replaceAll("+", "-").replaceAll("/", "_");
  return DRAINED_KEYS + coded.replaceAll("=", "");
}
