/** Images of private buckets: of those that the operator lists, and no other. */
import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { faultOfV4, withVariables } from "../image/bytes/cloud_requests.ts";
import { serveFolder } from "../image/folder_server.ts";
import { folderOfFile } from "../commands/process.ts";
import {
  assertRefused,
  drawModels,
  ended,
  post,
  withServer,
} from "../serve/served.ts";

const KEY = { id: "an-id", secret: "a-secret", region: "eu-central-1" };

const folder = folderOfFile(drawModels);

Deno.test("a server classifies from a listed bucket with its own key", async () => {
  const signed: (string | undefined)[] = [];
  const isSigned = (request: IncomingMessage) =>
    faultOfV4(request, KEY) === undefined;
  await using store = await serveFolder(folder, { // the bucket is its folder "set"
    intercept: (request) => {
      signed.push(request.headers.authorization);
      return isSigned(request) ? undefined : { status: 403 };
    },
  });
  const variables = {
    AWS_ACCESS_KEY_ID: KEY.id,
    AWS_SECRET_ACCESS_KEY: KEY.secret,
    AWS_REGION: KEY.region,
    AWS_ENDPOINT_URL: store.url,
  };
  const { host } = new URL(store.url);
  const uri = "s3://set/images/test_00000.png";
  const logged: string[] = [];
  const log = (...line: unknown[]) => void logged.push(JSON.stringify(line));
  const rows = [uri, uri.replace("00000", "00001")].map((uri) =>
    `${uri},negative`
  );
  await Deno.writeTextFile(
    join(folder, "set/private.csv"),
    ["image,label", ...rows].join("\n"),
  );
  await withVariables(variables, async () => {
    await withServer(
      folder,
      { allowedHosts: ["s3://set"], log },
      async (url) => {
        const local = await post(`${url}/v1/classify`, {
          path: "images/test_00000.png",
        });
        const { subTiles } = await local.json();
        const remote = await post(`${url}/v1/classify`, { uri });
        const text = await remote.text();
        assert.equal(remote.status, 200, text);
        assert.deepEqual(JSON.parse(text).subTiles, subTiles);
        const job = await post(`${url}/v1/batch`, { manifest: "private.csv" });
        const { id } = await job.json();
        await ended(url, id);
        const result = await fetch(`${url}/v1/jobs/${id}/result`);
        const lines = await result.text();
        logged.push(text, lines);
        for (
          const other of [
            "s3://models/first",
            "s3://set/../models/first",
            `${store.url}/models/first`,
            "gs://set/images/test_00000.png",
          ]
        ) {
          const refused = await post(`${url}/v1/classify`, { uri: other });
          assert.ok([400, 403].includes(refused.status), other);
          await refused.body?.cancel();
        }
      },
    );
    assert.ok(signed.length > 0 && signed.every(Boolean));
    assert.ok(store.requests.every((path) => path.startsWith("/set/")));
    assert.doesNotMatch(logged.join("\n"), /an-id|a-secret|AWS4/);
    // A host that is listed gets no key.
    await withServer(folder, { allowedHosts: [host] }, async (url) => {
      await assertRefused(await post(`${url}/v1/classify`, { uri }), {
        status: 422,
        error: /the server answered 403/,
      });
    });
    assert.equal(signed.at(-1), undefined);
  });
});
