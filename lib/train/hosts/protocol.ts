/**
 * Messages between the host that leads a run and those that share it. The leader
 * says again and again that its run is there; a host that is free joins, gets the
 * settings of the run, and then pieces of its steps.
 *
 * @module
 */
import type { PlainError } from "../../errors.ts";
import type { ShareMethods, WorkerSetup } from "../parallel/protocol.ts";

/** Pieces of a run that hosts share. */
export type ShareMethod = "gradients" | "logits" | "score";

/** Input of a piece. */
export type PieceInput<Name extends ShareMethod> = Parameters<
  ShareMethods[Name]
>[0];

/** Result of a piece. */
export type PieceOutput<Name extends ShareMethod> = ReturnType<
  ShareMethods[Name]
>;

/** Settings of a run for the Workers of all hosts. */
export type HostSetup = Omit<WorkerSetup, "opening" | "imageBytes">;

/** The leader to all: its run is there. As JSON, which other versions can read. */
export interface Call {
  run: string;
  /** The host that leads it. */
  leader: string;
  /** {@linkcode identity} of the leader. */
  identity: string;
  /** Hosts that share the run, by their ids. */
  hosts: string[];
}

/** A host to the leader of a run that it does not share. As JSON. */
export interface Refusal {
  host: string;
  reason: string;
}

/** A host to the leader. */
export type ToLeader =
  | { type: "join" }
  /** It has Workers for the run, and can do as many pieces at a time. */
  | { type: "ready"; workers: number }
  | { type: "beat" }
  | { type: "leave" }
  | { type: "value"; id: number; value: unknown }
  | { type: "error"; id: number; error: PlainError };

/** The leader to a host. */
export type ToHost =
  | { type: "setup"; setup: HostSetup; foreground: string | undefined }
  | PieceMessage
  | { type: "abort"; id: number }
  | { type: "dismissed"; reason: string };

/** A piece to do. */
export interface PieceMessage {
  type: "piece";
  id: number;
  method: ShareMethod;
  /** Without its weights. */
  input: Record<string, unknown>;
  /** Number of the weights, which all hosts get at once. */
  weights: number;
  /** Content of the files that it reads, by their path at the leader. */
  content: Record<string, string>;
}

/** The leader to all hosts of its run. */
export type ToAll =
  | { type: "weights"; number: number; values: unknown }
  | { type: "end" };

/** Error of a host that has not got the weights of a piece: not its fault. */
export const NO_WEIGHTS = "NoWeights";

/** How often a leader and its hosts say that they are there, ms. */
export const BEAT_MS = 1000;
/** A host that was silent for so long is gone, ms. */
export const HOST_SILENT_MS = 10_000;
/** A leader that was silent for so long is gone, ms: it also moves the weights. */
export const LEADER_SILENT_MS = 15_000;

// Of the messages above.
const PROTOCOL = 1;

/** What hosts must have in common to compute the same bits. */
export function identity(): string {
  const { os, arch } = Deno.build;
  return `protocol ${PROTOCOL}, Deno ${Deno.version.deno}, ${os} ${arch}`;
}

/** Subjects of NATS. */
export interface Subjects {
  /** Where leaders call for hosts. */
  calls: string;
  /** What hosts that do not share a run send to its leader. */
  refusals(run: string): string;
  /** What the leader sends to all hosts of a run. */
  all(run: string): string;
  /** What a host sends to the leader. */
  leader(run: string, host: string): string;
  /** What the leader sends to a host. */
  host(run: string, host: string): string;
}

/** The subjects of the runs of a prefix. */
export function subjectsOf(prefix: string): Subjects {
  const base = `${prefix}.shares`;
  return {
    calls: `${base}.calls`,
    refusals: (run: string) => `${base}.${run}.refusals`,
    all: (run: string) => `${base}.${run}.all`,
    leader: (run: string, host: string) => `${base}.${run}.leader.${host}`,
    host: (run: string, host: string) => `${base}.${run}.host.${host}`,
  };
}

/** An id that is new, and begins with the name of this host. */
export function newId(hostname: string): string {
  const name = hostname.replaceAll(/[^\w-]/g, "-");
  return `${name}-${crypto.randomUUID().slice(0, 8)}`;
}
