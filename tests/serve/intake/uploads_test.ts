import assert from "node:assert/strict";
import { join } from "node:path";
import {
  InputError,
  StalledError,
  TooLargeError,
} from "../../../lib/serve/errors.ts";
import { writeAll } from "../../../lib/files.ts";
import { Uploads } from "../../../lib/serve/intake/uploads.ts";
import { LONGEST_MS, within } from "../../waiting.ts";
import { filesIn, serverOfFile } from "../served.ts";

const never = new AbortController().signal;

const LIMITS = {
  uploadBytes: 1000,
  pace: { stallMs: LONGEST_MS, leastBytesPerSecond: 1 },
};
/** Of bodies that stop coming; nothing else is received with them. */
const IMPATIENT = {
  ...LIMITS,
  pace: { stallMs: 100, leastBytesPerSecond: 100 },
};

/** Uploads of up to 1000 bytes; afterwards nothing may be left. */
async function withUploads(
  test: (uploads: Uploads, folder: string) => Promise<void>,
  limits = LIMITS,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const uploads = await Uploads.open(folder, limits);
  try {
    await test(uploads, folder);
    assert.deepEqual(await filesIn(folder), []);
    uploads.close();
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A body that comes in parts; after null nothing comes. */
function bodyOf(...parts: (string | null)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return ReadableStream.from(async function* () {
    for (const part of parts) {
      if (part === null) await new Promise(() => {});
      else yield encoder.encode(part);
    }
  }());
}

Deno.test("a body is written as it comes, with its hash", async () => {
  await withUploads(async (uploads) => {
    const upload = await uploads.receive(bodyOf("ab", "", "c"), {
      signal: never,
    });
    assert.equal(upload.bytes, 3);
    assert.equal(await Deno.readTextFile(upload.path), "abc");
    assert.match(upload.sha256, /^ba7816bf/); // of "abc": FIPS 180-2, B.1
    await uploads.remove(upload);
  });
});

Deno.test("too much, too little and too late leave nothing", async () => {
  await withUploads(async (uploads) => {
    const receive = (
      body: ReadableStream<Uint8Array> | null,
      more: { announced?: number; signal?: AbortSignal } = {},
    ) => uploads.receive(body, { signal: never, ...more });
    await assert.rejects(
      receive(bodyOf("a"), { announced: 1001 }),
      TooLargeError,
    );
    const long = "x".repeat(400);
    await assert.rejects(receive(bodyOf(long, long, long)), TooLargeError);
    await assert.rejects(receive(bodyOf("")), InputError);
    await assert.rejects(receive(null), InputError);
    await assert.rejects(
      receive(bodyOf("a"), { signal: AbortSignal.abort() }),
      { name: "AbortError" },
    );
  });
});

Deno.test("a body that stops coming leaves nothing", async () => {
  await withUploads(async (uploads) => {
    const body = uploads.receive(bodyOf("a", null), { signal: never });
    await assert.rejects(within("it is given up", body), StalledError);
    const head =
      '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n';
    const form = uploads.receiveForm(bodyOf(head, "a", null), {
      contentType: "multipart/form-data; boundary=x",
      signal: never,
    });
    await assert.rejects(within("it is given up", form), StalledError);
  }, IMPATIENT);
});

Deno.test("uploads of a process that is gone are removed, those of others stay", async () => {
  await withUploads(async (uploads, folder) => {
    const kept = await uploads.receive(bodyOf("kept"), { signal: never });
    const abandoned = join(folder, "abandoned");
    await Deno.mkdir(abandoned);
    await Deno.writeTextFile(join(abandoned, ".lock"), "");
    await Deno.writeTextFile(join(abandoned, "file"), "left");
    const other = await Uploads.open(folder, LIMITS);
    assert.equal(await Deno.readTextFile(kept.path), "kept");
    await assert.rejects(Deno.stat(abandoned), Deno.errors.NotFound);
    other.close();
    await uploads.remove(kept);
  });
});

Deno.test("a folder that another process took for abandoned is made anew", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const { lock } = Deno.FsFile.prototype;
  // Between the making of the lock's file and its lock another one starts.
  Deno.FsFile.prototype.lock = async function (exclusive) {
    Deno.FsFile.prototype.lock = lock;
    const other = await Uploads.open(folder, LIMITS);
    other.close();
    await lock.call(this, exclusive);
  };
  try {
    const uploads = await Uploads.open(folder, LIMITS);
    const upload = await uploads.receive(bodyOf("a"), { signal: never });
    assert.equal(await Deno.readTextFile(upload.path), "a");
    uploads.close();
  } finally {
    Deno.FsFile.prototype.lock = lock;
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a form gives its file and its fields", async () => {
  await withUploads(async (uploads) => {
    const form = new FormData();
    form.append("seed", "3");
    form.append("file", new Blob(["abc"]), "../../name");
    form.append("samples", "4");
    const { body, headers } = new Response(form);
    const { file, fields } = await uploads.receiveForm(body, {
      contentType: headers.get("content-type")!,
      signal: never,
    });
    assert.deepEqual({ ...fields }, { seed: "3", samples: "4" });
    assert.equal(await Deno.readTextFile(file.path), "abc");
    await uploads.remove(file);
  });
});

Deno.test("a form with more files than one is refused, and says which", async () => {
  await withUploads(async (uploads) => {
    const refused: [string[], string, RegExp][] = [
      [["file", "file"], "file", /more than one "file".*\/v1\/batch/],
      [["other", "file"], "other", /named "other": send the image as "file"/],
      [["file", "other"], "other", /named "other": send the image as "file"/],
    ];
    for (const [names, field, message] of refused) {
      const form = new FormData();
      for (const name of names) form.append(name, new Blob(["abc"]), "a");
      const { body, headers } = new Response(form);
      const contentType = headers.get("content-type")!;
      await assert.rejects(
        uploads.receiveForm(body, { contentType, signal: never }),
        (error: Error) =>
          error instanceof InputError && error.field === field &&
          message.test(error.message),
        names.join(),
      );
    }
  });
});

Deno.test("a form that is cut off, too large or none leaves nothing", async () => {
  await withUploads(async (uploads) => {
    const contentType = "multipart/form-data; boundary=x";
    const head = (name: string) =>
      `--x\r\ncontent-disposition: form-data; name="${name}"; filename="a"\r\n\r\n`;
    const receive = (body: ReadableStream<Uint8Array>, type = contentType) =>
      uploads.receiveForm(body, { contentType: type, signal: never });
    const end = "\r\n--x--\r\n";
    const refused: [ReadableStream<Uint8Array>, typeof InputError][] = [
      [bodyOf(head("file"), "abc"), InputError],
      [bodyOf(head("file")), InputError],
      [bodyOf("no form"), InputError],
      [bodyOf(head("other"), "abc", end), InputError],
    ];
    for (const [body, kind] of refused) {
      await assert.rejects(receive(body), kind);
    }
    const long = "x".repeat(600);
    await assert.rejects(
      receive(bodyOf(head("file"), long, long, end)),
      TooLargeError,
    );
    const field = head("c").replace("; filename", ";n");
    const parts = [head("file"), "a", ...Array(17).fill(`\r\n${field}1`)];
    await assert.rejects(receive(bodyOf(...parts, end)), {
      name: "InputError",
      message: "Cannot read the form: too many parts",
    });
    await assert.rejects(
      receive(bodyOf("x"), "multipart/form-data"),
      InputError,
    );
  });
});

const server = serverOfFile("--workers", "1");
const MIB = 2 ** 20;

Deno.test("a large upload goes to disk, not into memory", async () => {
  const { url } = server;
  const resident = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)![1]);
  };
  let peak = 0;
  const upload = async (mebibytes: number) => {
    const { hostname, port } = new URL(url);
    using connection = await Deno.connect({ hostname, port: Number(port) });
    await writeAll(
      connection,
      new TextEncoder().encode(
        "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n" +
          "connection: close\r\nprefer: respond-async\r\n" +
          "content-type: application/octet-stream\r\n" +
          `content-length: ${mebibytes * MIB}\r\n\r\n`,
      ),
    );
    for (let sent = 0; sent < mebibytes; sent++) {
      await writeAll(connection, new Uint8Array(MIB));
      if (sent % 16 === 0) peak = Math.max(peak, await resident());
    }
    const answer = await new Response(connection.readable).text();
    assert.match(answer, /^HTTP\/1.1 202 /);
  };
  await upload(32); // what the first one takes is not given back
  const idle = await resident();
  await upload(500);
  assert.ok(peak - idle < 150e6, `${(peak - idle) / MIB} MiB`);
});
