/**
 * The hosts that share a run, as the one that leads it sees them: they join and
 * leave at any time, and each does the pieces that it is given.
 *
 * @module
 */
import { hostname } from "node:os";
import type { ManifestEntry } from "../../data/manifest.ts";
import { count } from "../../data/table.ts";
import { oneLine, revivedError } from "../../errors.ts";
import type { TensorValues } from "../parallel/protocol.ts";
import { contentOf } from "./content.ts";
import { type HostsConnection, type HostsSubscription, Mail } from "./mail.ts";
import {
  BEAT_MS,
  type Call,
  HOST_SILENT_MS,
  type HostSetup,
  identity,
  newId,
  type PieceInput,
  type PieceOutput,
  type Refusal,
  type ShareMethod,
  subjectsOf,
  type ToHost,
  type ToLeader,
} from "./protocol.ts";

/** Where hosts share a run. */
export interface HostsOptions {
  /** The connection to NATS. */
  connection: HostsConnection;
  /** Of the names in NATS. */
  prefix: string;
  /** Told what the user should know of the hosts, a line each. */
  onRemark: (text: string) => void;
}

/** A piece was not done, for no fault of it or the host. */
export class NotDoneError extends Error {
  override name = "NotDoneError";
}

/** The hosts of a run. Close them when it is done. */
export class Hosts {
  readonly #options: HostsOptions;
  readonly #setup: HostSetup;
  readonly #onJoined: (host: Host) => void;
  readonly #mail: Mail;
  readonly #run: string;
  readonly #hosts = new Map<string, Host>();
  readonly #dismissed = new Set<string>();
  readonly #contents = new Map<string, Promise<string | undefined>>();
  readonly #subscriptions: HostsSubscription[];
  readonly #beat: ReturnType<typeof setInterval>;
  #beaten = performance.now();
  #weights: { number: number; values?: TensorValues } = { number: 0 };
  #lastId = 0;

  /** @param onJoined given each host when it can do pieces. */
  constructor(
    options: HostsOptions,
    setup: HostSetup,
    onJoined: (host: Host) => void,
  ) {
    this.#options = options;
    this.#setup = setup;
    this.#onJoined = onJoined;
    this.#run = newId(hostname());
    this.#mail = new Mail(options.connection, () => this.#alone());
    const { leader, refusals } = this.#subjects;
    this.#subscriptions = [
      this.#mail.hear(
        leader(this.#run, "*"),
        (value, subject) =>
          this.#heard(subject.split(".").at(-1)!, value as ToLeader),
      ),
      this.#mail.hearAnnounced<Refusal>(
        refusals(this.#run),
        (refusal) => this.#refused(refusal),
      ),
    ];
    this.#beat = setInterval(() => this.#call(), BEAT_MS);
    this.#call();
  }

  /** Ends the run for its hosts. */
  close(): void {
    clearInterval(this.#beat);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#mail.send(this.#subjects.all(this.#run), { type: "end" });
    for (const host of [...this.#hosts.values()]) {
      this.#remove(host);
      this.#remark(`host ${host.id} computed ${host.doneText}`);
    }
  }

  /** Gives a host no more pieces of this run. */
  dismiss(host: Host, reason: string): void {
    this.#dismissed.add(host.id);
    this.#send(host.id, { type: "dismissed", reason });
    this.#remove(host);
    this.#remark(`host ${host.id} is left out: ${oneLine(reason)}`);
  }

  /** Sends a piece. @returns its id. */
  async give(
    host: Host,
    method: ShareMethod,
    { weights, ...input }: PieceInput<ShareMethod>,
  ): Promise<number> {
    const content = await this.#contentsOf(
      "entries" in input
        ? input.entries
        : input.images.map((place) => this.#setup.train[place]!),
    );
    const id = ++this.#lastId;
    if (host.isGone) return id;
    this.#sendWeights(host, weights);
    const { number } = this.#weights;
    this.#send(host.id, {
      type: "piece",
      id,
      method,
      input,
      weights: number,
      content,
    });
    return id;
  }

  /** Tells a host that nobody waits for a piece. */
  abort(host: Host, id: number): void {
    this.#send(host.id, { type: "abort", id });
  }

  get #subjects() {
    return subjectsOf(this.#options.prefix);
  }

  #remark(text: string): void {
    this.#options.onRemark(text);
  }

  #send(host: string, message: ToHost): void {
    this.#mail.send(this.#subjects.host(this.#run, host), message);
  }

  /** Calls for hosts, and looks for those that have fallen silent. */
  #call(): void {
    const now = performance.now();
    const wasBusy = now - this.#beaten > 2 * BEAT_MS; // and has heard nobody
    this.#beaten = now;
    for (const host of [...this.#hosts.values()]) {
      if (wasBusy) host.heardAt = now;
      if (now - host.heardAt < HOST_SILENT_MS) continue;
      this.#remove(host);
      this.#remark(`host ${host.id} does not answer: others do its images`);
    }
    const call: Call = {
      run: this.#run,
      leader: hostname(),
      identity: identity(),
      hosts: [...this.#hosts.keys()],
    };
    this.#mail.announce(this.#subjects.calls, call);
  }

  #refused({ host, reason }: Refusal): void {
    if (this.#dismissed.has(host)) return;
    this.#dismissed.add(host);
    this.#remark(`host ${host} does not share the run: ${oneLine(reason)}`);
  }

  #heard(id: string, message: ToLeader): void {
    if (this.#dismissed.has(id)) return;
    const host = this.#hosts.get(id);
    if (host) host.heardAt = performance.now();
    switch (message.type) {
      case "join":
        return void this.#welcome(id);
      case "ready":
        return this.#join(id, message.workers);
      case "leave":
        if (!host) return;
        this.#remove(host);
        return this.#remark(
          `host ${id} has left; it computed ${host.doneText}`,
        );
      case "value":
        return host?.answered(message.id, { value: message.value });
      case "error":
        return host?.answered(message.id, { error: message.error });
      case "beat":
        return;
      default:
        message satisfies never;
    }
  }

  async #welcome(id: string): Promise<void> {
    const { foreground } = this.#setup;
    const content = foreground && "path" in foreground
      ? await this.#contentOf(foreground.path)
      : undefined;
    this.#send(id, {
      type: "setup",
      setup: this.#setup,
      foreground: content,
    });
  }

  #join(id: string, workers: number): void {
    if (this.#hosts.has(id)) return; // it had not yet heard that it is
    const host = new Host(id, workers, this);
    this.#hosts.set(id, host);
    this.#remark(`host ${id} shares the run: ${count(workers, "worker")}`);
    this.#onJoined(host);
  }

  /** NATS is away: hosts will hear a call when it is back. */
  #alone(): void {
    if (this.#hosts.size === 0) return;
    for (const host of [...this.#hosts.values()]) this.#remove(host);
    this.#remark("NATS is away: this machine does all images");
  }

  #remove(host: Host): void {
    this.#hosts.delete(host.id);
    host.leave();
  }

  /** Sends weights once, to all hosts; again for one that has joined since. */
  #sendWeights(host: Host, values: TensorValues): void {
    if (this.#weights.values !== values) {
      this.#weights = { number: this.#weights.number + 1, values };
    } else if (host.weights === this.#weights.number) return;
    const { number } = this.#weights;
    this.#mail.send(this.#subjects.all(this.#run), {
      type: "weights",
      number,
      values,
    });
    for (const other of this.#hosts.values()) other.weights = number;
  }

  /** Contents of images by their paths. */
  async #contentsOf(
    entries: readonly ManifestEntry[],
  ): Promise<Record<string, string>> {
    const contents: Record<string, string> = {};
    for (const { path } of entries) {
      const content = await this.#contentOf(path);
      if (content !== undefined) contents[path] = content;
    }
    return contents;
  }

  /** Undefined of what is no file here. */
  #contentOf(path: string): Promise<string | undefined> {
    const known = this.#contents.get(path) ??
      contentOf(path).catch(() => undefined);
    this.#contents.set(path, known);
    return known;
  }
}

/** How a piece ended. */
type Answer = { value: unknown } | {
  error: Parameters<typeof revivedError>[0];
};

/** A host that shares a run. */
export class Host {
  readonly #hosts: Hosts;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  /** When it was heard last, by performance.now(). */
  heardAt = performance.now();
  /** Number of the weights that were sent to it. */
  weights = 0;
  /** Pieces that it did. */
  #done = 0;
  /** It has computed the same bits as this machine. */
  isProven = false;
  #isGone = false;

  constructor(readonly id: string, readonly workers: number, hosts: Hosts) {
    this.#hosts = hosts;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** How many pieces it did, in words. */
  get doneText(): string {
    return count(this.#done, "image");
  }

  /**
   * Has the host do a piece. As of a Worker, the call ends when the host has
   * answered, even after an abort: it can do no other meanwhile.
   *
   * @throws {NotDoneError} If the host left.
   * @throws Its error.
   */
  async call<Name extends ShareMethod>(
    method: Name,
    input: PieceInput<Name>,
    signal: AbortSignal,
  ): Promise<PieceOutput<Name>> {
    const id = await this.#hosts.give(this, method, input);
    if (this.#isGone) throw new NotDoneError(`host ${this.id} has left`);
    const call = Promise.withResolvers<unknown>();
    this.#waiting.set(id, call);
    const abort = () => this.#hosts.abort(this, id);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
    try {
      return await call.promise as PieceOutput<Name>;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Ends a call; one that nobody waits for is late. */
  answered(id: number, answer: Answer): void {
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    if ("error" in answer) return call?.reject(revivedError(answer.error));
    this.#done++;
    call?.resolve(answer.value);
  }

  /** Ends its calls: it is gone. */
  leave(): void {
    this.#isGone = true;
    for (const call of this.#waiting.values()) {
      call.reject(new NotDoneError(`host ${this.id} has left`));
    }
    this.#waiting.clear();
  }
}
