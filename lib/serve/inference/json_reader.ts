/**
 * Reads the JSON of inference requests; large JSON in a Worker, one after the
 * other, because 15 MB of numbers keep a thread busy for a second and take
 * half a gigabyte.
 *
 * @module
 */
import { WorkerCalls } from "../../workers/calls.ts";
import { InputError } from "../errors.ts";
import { type JsonRequest, readJson } from "./json.ts";
import type { JsonMethods } from "./json_worker.ts";

const WORKER = new URL("./json_worker.ts", import.meta.url);

// Read in some milliseconds.
const SMALL_BYTES = 2 ** 17;

/** Reads JSON; close it when done. */
export class JsonReader {
  #calls: WorkerCalls<JsonMethods> | undefined;

  /** @throws {InputError} */
  async read(json: Uint8Array, signal: AbortSignal): Promise<JsonRequest> {
    if (json.length <= SMALL_BYTES) return readJson(json);
    const calls = this.#calls ??= this.#start();
    const answer = await calls.call("read", json, signal);
    if ("request" in answer) return answer;
    throw new InputError(answer.field, answer.message);
  }

  close(): void {
    this.#calls?.close(new Error("The server is stopping"));
  }

  #start(): WorkerCalls<JsonMethods> {
    const calls = new WorkerCalls<JsonMethods>(WORKER, {
      onCrash: (reason) => {
        this.#calls = undefined;
        calls.close(new Error(`The Worker that reads JSON ended: ${reason}`));
      },
    });
    return calls;
  }
}
