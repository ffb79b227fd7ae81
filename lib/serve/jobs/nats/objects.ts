/**
 * Reading the objects of an object store.
 *
 * @module
 */
import type { ObjectStore } from "@nats-io/obj";
import { NotReadyError } from "../../errors.ts";
import type { Nats } from "./connection.ts";

/**
 * The bytes of an object, asked for one by one: a consumer, which would send
 * them, may be placed on a node that has died.
 *
 * @param bucket name of the object store.
 * @throws {NotReadyError} If a part of it is missing.
 */
export async function* chunksOf(
  { jsm }: Pick<Nats, "jsm">,
  bucket: string,
  info: NonNullable<Awaited<ReturnType<ObjectStore["info"]>>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const next_by_subj = `$O.${bucket}.C.${info.nuid}`;
  for (let i = 0, seq = 0; i < info.chunks; i++) {
    const next = { seq: seq + 1, next_by_subj };
    const message = await jsm.streams.getMessage(`OBJ_${bucket}`, next);
    if (message === null) throw brokenOff();
    yield Uint8Array.from(message.data);
    seq = message.seq;
  }
}

/** The error of an object that is not whole. */
export function brokenOff(): NotReadyError {
  return new NotReadyError("The store of jobs broke off a file");
}
