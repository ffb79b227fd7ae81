import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { findJpegTurbo } from "../../../lib/image/formats/jpeg_turbo.ts";

const ignore = findJpegTurbo() === undefined &&
  Deno.env.get("ZOOMIN_REQUIRE_TURBOJPEG") !== "1";

Deno.test({
  name: "a Worker may be ended while libjpeg-turbo decodes for it",
  ignore,
  fn: async () => {
    const program = fileURLToPath(
      new URL("ended_decoding.ts", import.meta.url),
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-all", program],
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assert.equal(code, 0, text(stderr));
    assert.equal(text(stdout), "alive\n");
  },
});
