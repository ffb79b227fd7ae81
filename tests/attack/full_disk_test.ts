/** A server whose disk fills: it says so, and serves what it can. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, taskFlags } from "../commands/process.ts";
import {
  assertRefused,
  drawModels,
  imageOf,
  listening,
  post,
} from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const DISK_BYTES = 48 * 2 ** 20;

Deno.test({
  name: "a full disk is a 507, one line of the log, and a gauge",
  ignore: !await canMount(),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    try {
      await drawModels(folder);
      await Deno.mkdir(join(folder, "small"));
      await using served = await listening(serveOnSmallDisk(folder));
      const { url, process: { pid } } = served;
      const classify = `${url}/v1/classify`;
      const image = await imageOf(folder);

      const announced = await fetch(classify, {
        method: "POST",
        headers: { "content-type": "image/png" },
        body: new Uint8Array(DISK_BYTES),
      });
      await assertRefused(announced, {
        status: 507,
        error: /disk has \d+ bytes free, too few for 50331648 bytes more/,
      });
      const streamed = await fetch(classify, {
        method: "POST",
        headers: { "content-type": "image/png" },
        body: ReadableStream.from(
          Array.from({ length: 50 }, () => new Uint8Array(2 ** 20)),
        ),
      });
      await assertRefused(streamed, { status: 507, error: /disk is full/ });

      await onDisk(pid, folder, "cat /dev/zero > fill"); // until it is full
      const job = await post(`${url}/v1/batch`, { manifest: "manifest.csv" });
      await assertRefused(job, { status: 507, error: /disk is full/ });
      const training = await post(`${url}/v1/train`, {
        data: "manifest.csv",
        name: "second",
        preset: "needle",
        features: "scattering",
        boxes: true, // those drawn are written before it is accepted
      });
      await assertRefused(training, { status: 507, error: /disk is full/ });
      assert.equal(await onDisk(pid, folder, "ls .server/jobs"), "");
      const named = await post(classify, { path: "images/test_00000.png" });
      await named.body?.cancel();
      assert.equal(named.status, 200); // it writes nothing
      assert.match(
        await (await fetch(`${url}/metrics`)).text(),
        /^disk_free_bytes 0$/m,
      );
      await onDisk(pid, folder, "rm fill");
      const after = await fetch(classify, {
        method: "POST",
        headers: { "content-type": "image/png" },
        body: image,
      });
      await after.body?.cancel();
      assert.equal(after.status, 200);

      const faults = () =>
        served.log.filter(({ event }) => event === "disk full");
      await eventually("all four are logged", () => faults().length >= 4);
      assert.equal(faults().length, 4);
      assert.match(String(faults()[2]!.error), /database or disk is full/);
      assert.deepEqual(served.log.filter(({ event }) => event === "bug"), []);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** True if this machine lets a process have a disk of its own. */
async function canMount(): Promise<boolean> {
  if (Deno.build.os !== "linux") return false;
  const { success } = await new Deno.Command("unshare", {
    args: ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
    stderr: "null",
  }).output().catch(() => ({ success: false }));
  return success;
}

/** Starts a server whose models lie on a disk of their own. */
function serveOnSmallDisk(folder: string): Deno.ChildProcess {
  const script =
    `mount -t tmpfs -o size=${DISK_BYTES} tmpfs small && cp -r models/. small && exec "$@"`;
  return new Deno.Command("unshare", {
    args: [
      ...["-rm", "sh", "-c", script, "sh", Deno.execPath()],
      ...[...taskFlags("serve"), join(ROOT, "main.ts"), "serve"],
      ...["--models", "small", "--data-root", "set", "--port", "0"],
      ...["--backend", "wasm", "--workers", "1"],
    ],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a command of the shell on the server's disk, and returns its output. */
async function onDisk(
  pid: number,
  folder: string,
  command: string,
): Promise<string> {
  // Deno itself reads nothing below /proc.
  const { stdout } = await new Deno.Command("sh", {
    args: [
      "-c",
      `cd "$1" && ${command}`,
      "sh",
      `/proc/${pid}/root/${folder}/small`,
    ],
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}
