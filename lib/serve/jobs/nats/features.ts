/**
 * Frozen features in NATS, for all hosts: what one has computed the others
 * fetch. Their object store has a bound, and the oldest features leave it first.
 *
 * Trouble with it costs only what it holds: for a minute, features are computed.
 *
 * @module
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  StorageType,
} from "@nats-io/jetstream";
import { type ObjectStore, Objm } from "@nats-io/obj";
import { oneLine } from "../../../errors.ts";
import type { FeatureStore } from "../../../train/runs/training.ts";
import { NotReadyError } from "../../errors.ts";
import {
  ignoreMissing,
  type Nats,
  openNats,
  replicasOf,
} from "./connection.ts";
import { chunksOf } from "./objects.ts";
import { type NatsPlace, SHARED_LEASE_MS } from "./place.ts";

// Bounds of the store, bytes: the first that the server has room for. Who wants
// another sets that of the stream.
const BOUNDS = [10e9, 1e9, 1e8];
const NO_ROOM = 10047;
// Larger ones would push out all others.
const MAX_SHARE = 1 / 4;
const REST_MS = 60_000;

/** Features by their keys, in an object store. */
export class NatsFeatures implements FeatureStore {
  readonly #nats: Nats;
  readonly #bucket: string;
  readonly #objects: ObjectStore;
  readonly #maxBytes: number;
  readonly #remark: (text: string) => void;
  #restUntil = 0;

  private constructor(
    nats: Nats,
    { bucket, objects, maxBytes, remark }: {
      bucket: string;
      objects: ObjectStore;
      maxBytes: number;
      remark: (text: string) => void;
    },
  ) {
    this.#nats = nats;
    this.#bucket = bucket;
    this.#objects = objects;
    this.#maxBytes = maxBytes;
    this.#remark = remark;
  }

  /**
   * Connects to the features of a place; undefined if it has none to share now.
   *
   * @param remark told, in a line, what keeps features from being shared.
   */
  static async open(
    place: NatsPlace,
    remark: (text: string) => void = () => {},
  ): Promise<NatsFeatures | undefined> {
    let nats: Nats | undefined;
    try {
      nats = await openNats({ ...place, leaseMs: SHARED_LEASE_MS });
      const bucket = nats.names.features;
      const maxBytes = await ensureStream(nats, bucket);
      const objects = await new Objm(nats.js).open(bucket);
      return new NatsFeatures(nats, { bucket, objects, maxBytes, remark });
    } catch (error) {
      await nats?.connection.close();
      remark(notShared(error));
      return undefined;
    }
  }

  async get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return await this.#unlessResting(async () => {
      const info = await this.#objects.info(key);
      if (info === null || info.deleted) return undefined;
      const chunks = chunksOf(this.#nats, this.#bucket, info);
      try {
        return await new Response(ReadableStream.from(chunks)).bytes();
      } catch (error) {
        // The oldest parts of the oldest object have left the store.
        if (error instanceof NotReadyError) return undefined;
        throw error;
      }
    });
  }

  async put(key: string, file: Uint8Array): Promise<void> {
    if (file.length > MAX_SHARE * this.#maxBytes) return;
    await this.#unlessResting(() => this.#objects.putBlob({ name: key }, file));
  }

  async close(): Promise<void> {
    await this.#nats.connection.close();
  }

  async #unlessResting<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (performance.now() < this.#restUntil) return undefined;
    try {
      return await work();
    } catch (error) {
      this.#restUntil = performance.now() + REST_MS;
      this.#remark(notShared(error));
      return undefined;
    }
  }
}

/** Creates the store if there is none; its bound, bytes. */
async function ensureStream(
  { jsm, connection }: Nats,
  bucket: string,
): Promise<number> {
  const stream = `OBJ_${bucket}`;
  const known = await jsm.streams.info(stream).catch(ignoreMissing);
  if (known) return boundOf(known.config.max_bytes);
  // As other object stores are, but that old parts make room for new ones.
  const config = {
    name: stream,
    subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
    storage: StorageType.File,
    num_replicas: replicasOf(connection),
    discard: DiscardPolicy.Old,
    allow_direct: true,
    allow_rollup_hdrs: true,
  };
  for (const bytes of BOUNDS) {
    try {
      await jsm.streams.add({ ...config, max_bytes: bytes });
      return bytes;
    } catch (error) {
      const found = await jsm.streams.info(stream).catch(ignoreMissing);
      if (found) return boundOf(found.config.max_bytes); // another was first
      if (!isNoRoom(error)) throw error;
    }
  }
  throw new Error(
    `NATS has no room for ${BOUNDS.at(-1)! / 1e6} MB of features`,
  );
}

function boundOf(maxBytes: number): number {
  return maxBytes > 0 ? maxBytes : Infinity;
}

function isNoRoom(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === NO_ROOM;
}

function notShared(error: unknown): string {
  return `Features are not shared with other hosts for now, and are computed: ${
    oneLine((error as Error).message)
  }`;
}
