/**
 * The machine and versions of a run: written into its log, so that figures can
 * be traced.
 *
 * @module
 */
import os from "node:os";
import { version_core } from "@tensorflow/tfjs-core";
import type { Engine } from "./select.ts";

/** Versions, machine and engine. */
export function environment(engine: Engine): Record<string, unknown> {
  return {
    backend: engine.backend,
    engine: engine.reason,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    tfjs: version_core,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.cpus().length,
    memoryBytes: os.totalmem(),
  };
}
