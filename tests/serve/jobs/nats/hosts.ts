/**
 * Hosts that share jobs, as processes with folders of their own.
 *
 * @module
 */
import { join } from "node:path";
import { start } from "../../../commands/process.ts";
import { serve, type Served } from "../../served.ts";
import type { NatsServers } from "./nats_server.ts";

/** A host that answers requests; its models are in FOLDER/name. */
export async function host(
  folder: string,
  name: string,
  { url }: Pick<NatsServers, "url">,
  ...argv: string[]
): Promise<Served> {
  await Deno.mkdir(join(folder, name), { recursive: true });
  return await serve(
    folder,
    ...["--models", name, "--data-root", "set", "--workers", "1"],
    ...["--jobs", url, ...argv],
  );
}

/** A host that does jobs only. */
export interface WorkingHost {
  /** Its log so far. */
  readonly log: string;
  kill(signal: Deno.Signal): Promise<void>;
}

/** Starts a host that does jobs only. */
export function worker(
  folder: string,
  name: string,
  { url }: Pick<NatsServers, "url">,
  ...argv: string[]
): WorkingHost {
  Deno.mkdirSync(join(folder, name), { recursive: true });
  const process = start(
    folder,
    ...["work", "--models", name, "--data-root", "set", "--workers", "1"],
    ...["--backend", "wasm", "--jobs", url, ...argv],
  );
  let log = "";
  const logged = process.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (log += text) }));
  const ended = Promise.all([
    process.status,
    process.stdout.cancel(),
    logged,
  ]);
  return {
    get log() {
      return log;
    },
    async kill(signal) {
      try {
        process.kill(signal);
      } catch (cause) {
        throw new Error(`It had ended: ${log}`, { cause });
      }
      await ended;
    },
  };
}
