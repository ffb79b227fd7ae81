/**
 * Tests that need onnxruntime: some 450 MB on disk, which are not fetched for
 * them. They run where it has been fetched; with ZOOMIN_REQUIRE_ENCODERS=1 they
 * fetch it.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { OnnxEngine } from "../../lib/encoder/onnx/runtime.ts";
import { ignoreGpu } from "../engines.ts";

const isRequired = Deno.env.get("ZOOMIN_REQUIRE_ENCODERS") === "1";
const PACKAGES = { wasm: "onnxruntime-node", webgpu: "onnxruntime-web" };

function isFetched(name: string): boolean {
  const { stdout } = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
    stdin: "null",
  }).outputSync();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  return existsSync(join(npmCache, "registry.npmjs.org", name));
}

const isMissing = Object.fromEntries(
  Object.entries(PACKAGES)
    .map(([engine, name]) => [engine, !isRequired && !isFetched(name)]),
) as Record<OnnxEngine, boolean>;

/** True where there is no runtime for encoders on the CPU. */
export const noEncoder: boolean = isMissing.wasm!;

/** Defines a test that runs an encoder beside `engine`. */
export function testEncoder(
  name: string,
  test: () => Promise<void>,
  { engine = "wasm", ignore = false }: {
    engine?: OnnxEngine;
    ignore?: boolean;
  } = {},
): void {
  const noGpu = engine === "webgpu" && (ignoreGpu || isMissing.wasm);
  Deno.test({
    name: `${name} [${engine}]`,
    ignore: ignore || noGpu || isMissing[engine],
    fn: test,
  });
}
