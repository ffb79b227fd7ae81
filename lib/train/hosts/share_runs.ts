/**
 * A host that shares the runs of others: it hears that one is there, starts
 * Workers for it, and does the pieces that it is given until the run ends. One run
 * at a time.
 *
 * @module
 */
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { ManifestEntry } from "../../data/manifest.ts";
import { DataError, EngineError, plainError } from "../../errors.ts";
import type { WorkerCalls } from "../../workers/calls.ts";
import type { ShareMethods } from "../parallel/protocol.ts";
import { startWorker } from "../parallel/team.ts";
import { contentOf } from "./content.ts";
import { type HostsConnection, type HostsSubscription, Mail } from "./mail.ts";
import {
  BEAT_MS,
  type Call,
  type HostSetup,
  identity,
  LEADER_SILENT_MS,
  newId,
  NO_WEIGHTS,
  type PieceMessage,
  type Refusal,
  subjectsOf,
  type ToAll,
  type ToHost,
  type ToLeader,
} from "./protocol.ts";

/** An image or another file as the leader of a run names it. */
export type NamedFile = Pick<ManifestEntry, "path"> & { image?: string };

/** Options of {@linkcode shareRuns}. */
export interface ShareOptions {
  connection: HostsConnection;
  /** Of the names in NATS. */
  prefix: string;
  /** Pieces to do at a time, each by a Worker of its own. */
  workers: number;
  /** Bound of the tensors and caches of each, bytes. */
  memoryBytes: number;
  /** Bytes of decoded images that each keeps. */
  imageBytes: number;
  /**
   * Path or URL on this host of what the leader names.
   *
   * @throws If there is none.
   */
  located(file: NamedFile): Promise<string>;
  /** Module of the Workers, and how it opens images: plain data. */
  module: URL;
  opening: unknown;
  /** Told what the operator should know. */
  log(event: string, fields: Record<string, unknown>): void;
}

// The setup may have been lost: it is asked for again after so long, ms.
const ASK_AGAIN_MS = 10_000;
// Longest wait for the weights of a piece, ms.
const WEIGHTS_MS = 10_000;
// Files that are looked for at a time.
const AT_A_TIME = 16;

/**
 * Shares runs until `signal` aborts.
 *
 * @throws {DataError} If NATS closes the connection.
 */
export async function shareRuns(
  options: ShareOptions,
  signal: AbortSignal,
): Promise<void> {
  const sharer = new Sharer(options);
  const stopped = Promise.withResolvers<void>();
  if (signal.aborted) stopped.resolve();
  signal.addEventListener("abort", () => stopped.resolve());
  const closed = options.connection.closed().then((error) => {
    throw new DataError(
      `NATS closed the connection: ${error ? error.message : "no reason"}`,
    );
  });
  closed.catch(() => {}); // after the end
  try {
    await Promise.race([stopped.promise, closed]);
  } finally {
    sharer.close();
  }
}

/** The runs that this host hears of, and the one that it shares. */
class Sharer {
  readonly #options: ShareOptions;
  readonly #mail: Mail;
  readonly #id = newId(hostname());
  readonly #calls: HostsSubscription;
  readonly #beat: ReturnType<typeof setInterval>;
  /** Runs that it cannot share. */
  readonly #refused = new Set<string>();
  #member: Member | undefined;

  constructor(options: ShareOptions) {
    this.#options = options;
    this.#mail = new Mail(options.connection);
    const { calls } = subjectsOf(options.prefix);
    this.#calls = this.#mail.hearAnnounced<Call>(
      calls,
      (call) => this.#heard(call),
    );
    this.#beat = setInterval(() => this.#look(), BEAT_MS);
  }

  close(): void {
    clearInterval(this.#beat);
    this.#calls.unsubscribe();
    this.#end("stopping");
  }

  #heard(call: Call): void {
    const { run, leader } = call;
    if (this.#refused.has(run)) return;
    if (this.#member) return this.#member.heard(call);
    if (call.identity !== identity()) {
      return this.#refuse(
        run,
        `it has ${identity()}, the run ${call.identity}; give both the same`,
      );
    }
    const log = this.#options.log;
    log("joining", { run, leader });
    this.#member = new Member(run, {
      ...this.#options,
      mail: this.#mail,
      id: this.#id,
      onRefused: (reason) => this.#refuse(run, reason),
      onDismissed: (reason) => {
        this.#refused.add(run);
        log("left out", { run, reason });
        this.#end();
      },
      onEnd: () => this.#end("the run has ended"),
    });
  }

  /** Tells the leader and the log that it does not share a run. */
  #refuse(run: string, reason: string): void {
    const { prefix, log } = this.#options;
    this.#refused.add(run);
    log("not sharing", { run, reason });
    const refusal: Refusal = { host: this.#id, reason };
    this.#mail.announce(subjectsOf(prefix).refusals(run), refusal);
    this.#end();
  }

  #look(): void {
    if (this.#member?.isForgotten) this.#end("the leader does not answer");
    this.#member?.beat();
  }

  #end(reason?: string): void {
    const member = this.#member;
    this.#member = undefined;
    if (!member) return;
    member.close();
    if (reason) this.#options.log("left", { run: member.run, reason });
  }
}

interface MemberOptions extends ShareOptions {
  mail: Mail;
  id: string;
  onRefused(reason: string): void;
  onDismissed(reason: string): void;
  onEnd(): void;
}

/** This host's part in one run. */
class Member {
  readonly #options: MemberOptions;
  readonly #subscriptions: HostsSubscription[];
  readonly #running = new Map<number, AbortController>();
  readonly #files = new Map<string, Promise<string>>();
  readonly #contents = new Map<string, Promise<string>>();
  readonly #free: WorkerCalls<ShareMethods>[] = [];
  readonly #queue: ((calls: WorkerCalls<ShareMethods>) => void)[] = [];
  #workers: WorkerCalls<ShareMethods>[] = [];
  #train: readonly ManifestEntry[] = [];
  #weights: { number: number; values?: unknown } = { number: 0 };
  #news = Promise.withResolvers<void>();
  #heardAt = performance.now();
  #askedAt = performance.now();
  #isReady = false;
  #isPreparing = false;
  #isClosed = false;

  constructor(readonly run: string, options: MemberOptions) {
    this.#options = options;
    const { mail, id, prefix } = options;
    const subjects = subjectsOf(prefix);
    this.#subscriptions = [
      mail.hear(subjects.all(run), (value) => this.#ofAll(value as ToAll)),
      mail.hear(subjects.host(run, id), (value) => this.#told(value as ToHost)),
    ];
    this.#send({ type: "join" });
  }

  /** The leader was not heard for too long. */
  get isForgotten(): boolean {
    return performance.now() - this.#heardAt > LEADER_SILENT_MS;
  }

  /** A call of a leader. */
  heard({ run, hosts }: Call): void {
    if (run !== this.run) return; // another's, who finds other hosts
    const now = performance.now();
    this.#heardAt = now;
    const { id } = this.#options;
    if (this.#isReady) {
      if (!hosts.includes(id)) this.#ready(); // the leader took it for gone
    } else if (!this.#isPreparing && now - this.#askedAt > ASK_AGAIN_MS) {
      this.#askedAt = now;
      this.#send({ type: "join" });
    }
  }

  beat(): void {
    if (this.#isReady) this.#send({ type: "beat" });
  }

  close(): void {
    this.#isClosed = true;
    this.#send({ type: "leave" });
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const controller of this.#running.values()) controller.abort();
    for (const calls of this.#workers) {
      calls.close(new EngineError("The host has left the run"));
    }
  }

  #send(message: ToLeader): void {
    const { mail, prefix, id } = this.#options;
    mail.send(subjectsOf(prefix).leader(this.run, id), message);
  }

  #ready(): void {
    this.#send({ type: "ready", workers: this.#workers.length });
  }

  #ofAll(message: ToAll): void {
    if (message.type === "end") return this.#options.onEnd();
    const { number, values } = message;
    this.#weights = { number, values };
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  #told(message: ToHost): void {
    switch (message.type) {
      case "setup":
        this.#prepare(message.setup, message.foreground).catch((error) => {
          if (!this.#isClosed) this.#options.onRefused(error.message);
        });
        return;
      case "piece":
        return void this.#do(message);
      case "abort":
        return this.#running.get(message.id)?.abort();
      case "dismissed":
        return this.#options.onDismissed(message.reason);
      default:
        message satisfies never;
    }
  }

  /** Starts Workers, if it has not. @throws If it cannot share the run. */
  async #prepare(setup: HostSetup, foreground?: string): Promise<void> {
    if (this.#isReady) return this.#ready();
    if (this.#isPreparing) return;
    this.#isPreparing = true;
    const { workers, memoryBytes, imageBytes, module, opening, log } =
      this.#options;
    if (memoryBytes < setup.memoryBytes) {
      throw new DataError(
        `its workers take up to ${
          Math.ceil(setup.memoryBytes / 1e6)
        } MB each, as those of the run do; give --memory as much`,
      );
    }
    const here = await this.#here(setup, foreground);
    if (this.#isClosed) return;
    this.#train = setup.train;
    this.#workers = Array.from({ length: workers }, () => startWorker(module));
    const all = { ...here, opening, imageBytes };
    await Promise.all(this.#workers.map((calls) => calls.call("start", all)));
    if (this.#isClosed) return;
    this.#free.push(...this.#workers);
    this.#isReady = true;
    this.#ready();
    log("sharing", { run: this.run, workers });
  }

  /** The settings with the files of this host. */
  async #here(setup: HostSetup, content?: string): Promise<HostSetup> {
    const { foreground } = setup;
    const train: ManifestEntry[] = [];
    for (let at = 0; at < setup.train.length; at += AT_A_TIME) {
      const some = setup.train.slice(at, at + AT_A_TIME);
      train.push(
        ...await Promise.all(some.map((entry) => this.#entryHere(entry))),
      );
    }
    if (!foreground || !("path" in foreground)) return { ...setup, train };
    if (content) await this.#check(foreground, content);
    const path = await this.#located(foreground);
    return { ...setup, train, foreground: { ...foreground, path } };
  }

  async #entryHere(entry: ManifestEntry): Promise<ManifestEntry> {
    return { ...entry, path: await this.#located(entry) };
  }

  #located(file: NamedFile): Promise<string> {
    const known = this.#files.get(file.path) ?? this.#options.located(file);
    this.#files.set(file.path, known);
    return known;
  }

  /** @throws {DataError} If it is another file than the leader's. */
  async #check(file: NamedFile, content: string): Promise<void> {
    const path = await this.#located(file);
    const known = this.#contents.get(path) ?? contentOf(path);
    this.#contents.set(path, known);
    const own = await known;
    if (own === content) return;
    throw new DataError(
      `${path} differs from the image of the run (${own}, not ${content}); copy it again`,
    );
  }

  async #do({ id, ...piece }: PieceMessage): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    try {
      const value = await this.#done(piece, controller.signal);
      this.#send({ type: "value", id, value });
    } catch (error) {
      this.#send({ type: "error", id, error: plainError(error) });
    } finally {
      this.#running.delete(id);
    }
  }

  async #done(
    { method, input, weights: number, content }: Omit<PieceMessage, "id">,
    signal: AbortSignal,
  ): Promise<unknown> {
    const here = await this.#inputHere(input, content);
    const calls = await this.#worker();
    try {
      const weights = await this.#weightsOf(number, signal);
      const all = { ...here, weights } as Parameters<
        ShareMethods[typeof method]
      >[0];
      return await calls.call(method, all as never, signal);
    } finally {
      this.#give(calls);
    }
  }

  /** The input of a piece with the files of this host, which it checks. */
  async #inputHere(
    input: Record<string, unknown>,
    content: Record<string, string>,
  ): Promise<Record<string, unknown>> {
    const { entries, images } = input as {
      entries?: ManifestEntry[];
      images?: number[];
    };
    const named = entries ?? images!.map((place) => this.#train[place]!);
    for (const entry of named) {
      const expected = content[entry.path];
      if (expected !== undefined) await this.#check(entry, expected);
    }
    if (!entries) return input;
    return {
      ...input,
      entries: await Promise.all(
        entries.map((entry) => this.#entryHere(entry)),
      ),
    };
  }

  async #worker(): Promise<WorkerCalls<ShareMethods>> {
    const free = this.#free.pop();
    if (free) return free;
    return await new Promise((give) => this.#queue.push(give));
  }

  #give(calls: WorkerCalls<ShareMethods>): void {
    const next = this.#queue.shift();
    if (next) next(calls);
    else this.#free.push(calls);
  }

  /** The weights of a piece, which may still be on their way. */
  async #weightsOf(number: number, signal: AbortSignal): Promise<unknown> {
    const until = performance.now() + WEIGHTS_MS;
    while (this.#weights.number < number && performance.now() < until) {
      signal.throwIfAborted();
      await Promise.race([this.#news.promise, pause(BEAT_MS)]);
    }
    if (this.#weights.number === number) return this.#weights.values;
    const error = new Error("The weights of the step did not come");
    error.name = NO_WEIGHTS;
    throw error;
  }
}
