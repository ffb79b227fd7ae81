/** Objects of clouds: their addresses, and requests that are signed. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, randomBytes, verify } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ImageSourceError } from "../../../lib/errors.ts";
import { bucketAddress, httpUrl } from "../../../lib/image/bytes/cloud.ts";
import { openUrl } from "../../../lib/image/bytes/http.ts";
import { isUrl } from "../../../lib/image/bytes/source.ts";
import { openImage } from "../../../lib/image/open.ts";
import { Sources } from "../../../lib/serve/intake/allowed_sources.ts";
import { guardedFetch } from "../../../lib/serve/intake/guarded_fetch.ts";
import { withFolder } from "../../data/folder.ts";
import { type Answer, serveFile, type ServerOptions } from "../file_server.ts";
import { faultOfV4, sharedKey, withVariables } from "./cloud_requests.ts";

const file = new Uint8Array(randomBytes(200_000));
const fast = { firstPauseMs: 1, attempts: 3 };

const KEY = {
  id: "AKIAIOSFODNN7EXAMPLE",
  secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  region: "eu-central-1",
};
const AWS = {
  AWS_ACCESS_KEY_ID: KEY.id,
  AWS_SECRET_ACCESS_KEY: KEY.secret,
  AWS_REGION: KEY.region,
};
const AZURE = {
  account: "devstoreaccount1",
  key: new Uint8Array(randomBytes(64)).toBase64(),
};

/** A store that answers signed requests only. */
async function privateStore(
  options: ServerOptions = {},
  key: Parameters<typeof faultOfV4>[1] = KEY,
) {
  const requests: IncomingMessage[] = [];
  const server = await serveFile(file, {
    ...options,
    intercept: (request) => {
      requests.push(request);
      return options.intercept?.(request) ??
        (faultOfV4(request, key) === undefined ? undefined : { status: 403 });
    },
  });
  return {
    requests,
    server,
    endpoint: new URL(server.url).origin,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** The message of the error of opening `address`. */
async function failure(
  address: string,
  options: Parameters<typeof openUrl>[1] = fast,
): Promise<string> {
  const error = await openUrl(address, options).then(
    () => assert.fail(`${address} was opened`),
    (error) => error,
  );
  assert.ok(error instanceof ImageSourceError, String(error));
  return error.message;
}

Deno.test("the check of signatures passes Amazon's example", () => {
  // "GET Object" of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
  const request = {
    method: "GET",
    url: "/test.txt",
    headers: {
      host: "examplebucket.s3.amazonaws.com",
      range: "bytes=0-9",
      "x-amz-content-sha256":
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "x-amz-date": "20130524T000000Z",
      authorization:
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
  };
  const key = { ...KEY, region: "us-east-1" };
  assert.equal(faultOfV4(request, key), undefined);
  const other = { ...key, secret: "another" };
  assert.equal(faultOfV4(request, other), "SignatureDoesNotMatch");
});

Deno.test("addresses of clouds have http forms", () => {
  const urls: [string, string, Record<string, string>?][] = [
    [
      "s3://slides/a b/c+d.svs",
      "https://slides.s3.amazonaws.com/a%20b/c%2Bd.svs",
    ],
    ["s3://my.slides/c.svs", "https://s3.amazonaws.com/my.slides/c.svs"],
    [
      "S3://slides/c.svs",
      "https://slides.s3.eu-north-1.amazonaws.com/c.svs",
      { AWS_DEFAULT_REGION: "eu-north-1" },
    ],
    [
      "s3://slides/c.svs",
      "https://slides.s3.cn-north-1.amazonaws.com.cn/c.svs",
      { AWS_REGION: "cn-north-1" },
    ],
    ["s3://slides/c.svs", "http://127.0.0.1:9000/slides/c.svs", {
      AWS_ENDPOINT_URL: "http://other",
      AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9000/",
    }],
    ["gs://slides/a#b", "https://storage.googleapis.com/slides/a%23b"],
    ["gs://slides/a", "http://localhost:4443/slides/a", {
      STORAGE_EMULATOR_HOST: "localhost:4443",
    }],
    ["az://slides/a?b", "https://me.blob.core.windows.net/slides/a%3Fb", {
      AZURE_STORAGE_ACCOUNT: "me",
    }],
    ["az://slides/a", "http://127.0.0.1:10000/me/slides/a", {
      AZURE_STORAGE_CONNECTION_STRING:
        "AccountName=me;AccountKey=a==;BlobEndpoint=http://127.0.0.1:10000/me;",
    }],
    ["az://slides/a", "https://me.blob.core.chinacloudapi.cn/slides/a", {
      AZURE_STORAGE_CONNECTION_STRING:
        "DefaultEndpointsProtocol=https;AccountName=me;EndpointSuffix=core.chinacloudapi.cn",
    }],
    ["az://slides/a", "az://slides/a"], // of no known account
    ["http://host/x", "http://host/x"],
    ["s3://slides/a/../../other/b", "s3://slides/a/../../other/b"], // no URL keeps it
    ["s3://user:key@slides/a", "s3://user:key@slides/a"],
  ];
  for (const [address, url, variables = {}] of urls) {
    assert.equal(httpUrl(address, (name) => variables[name]), url);
    assert.ok(isUrl(address));
  }
  assert.deepEqual(bucketAddress("s3://slides/"), {
    service: "s3",
    bucket: "slides",
  });
  for (const word of ["s3://", "s3://slides/a", "slides", "s3://a:9000"]) {
    assert.equal(bucketAddress(word), undefined, word);
  }
});

Deno.test("a private object of S3 costs what a file of a server costs", async () => {
  await using plain = await serveFile(file);
  await using store = await privateStore();
  const variables = { ...AWS, AWS_ENDPOINT_URL: store.endpoint };
  await withVariables(variables, async () => {
    const address = "s3://slides/a b/c+d (1)'é.svs";
    const sources = [await openUrl(plain.url), await openUrl(address)];
    for (const source of sources) {
      const parts: [number, number][] = [[0, 16], [60_000, 1000], [61_000, 9]];
      const read = parts.map(([offset, length]) => source.read(offset, length));
      for (const [i, bytes] of (await Promise.all(read)).entries()) {
        const [offset, length] = parts[i]!;
        assert.deepEqual(bytes, file.subarray(offset, offset + length));
      }
      source.close();
    }
    const [web, signed] = sources;
    assert.deepEqual(signed!.traffic, web!.traffic);
    assert.equal(store.server.bytes, plain.bytes);
    assert.deepEqual(store.server.ranges, plain.ranges);
    assert.equal(signed!.identity, `${address}|200000|"old"`);
    assert.equal(store.requests.length, 2);
    assert.equal(store.requests[1]!.headers["if-range"], '"old"');
  });
});

Deno.test("a session's token goes along", async () => {
  await using store = await privateStore({}, { ...KEY, token: "abc/+=" });
  const variables = { ...AWS, AWS_ENDPOINT_URL: store.endpoint };
  const address = "s3://slides/a.svs";
  await withVariables(
    { ...variables, AWS_SESSION_TOKEN: "abc/+=" },
    async () => {
      (await openUrl(address)).close();
    },
  );
  await withVariables(variables, async () => {
    assert.match(await failure(address), /403/);
  });
});

Deno.test("an image in a private bucket is that of the file", async () => {
  const path = fileURLToPath(
    new URL("../../../fixtures/tiff/pages_jpeg.tif", import.meta.url),
  );
  const bytes = await Deno.readFile(path);
  await using server = await serveFile(bytes, {
    intercept: (request) =>
      faultOfV4(request, KEY) === undefined ? undefined : { status: 403 },
  });
  const { origin } = new URL(server.url);
  await withVariables({ ...AWS, AWS_ENDPOINT_URL: origin }, async () => {
    const local = await openImage(path);
    const remote = await openImage("s3://slides/a.tif");
    const { width, height } = local;
    const region = { x: 0, y: 0, width, height };
    const { data } = await remote.read(region, 0);
    assert.deepEqual(data, (await local.read(region, 0)).data);
    assert.equal(remote.source, "s3://slides/a.tif");
    local.close();
    remote.close();
  });
});

Deno.test("refusals say what to set, once, and show no secret", async () => {
  await using store = await privateStore();
  const endpoint = { AWS_ENDPOINT_URL: store.endpoint };
  const address = "s3://slides/a.svs";
  await withVariables(endpoint, async () => {
    assert.equal(
      await failure(address),
      "the server answered 403 Forbidden to a request without credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
  });
  const wrong = { ...AWS, ...endpoint, AWS_SECRET_ACCESS_KEY: "wrong" };
  await withVariables(wrong, async () => {
    assert.equal(
      await failure(address),
      "the server answered 403 Forbidden to the credentials of AWS_ACCESS_KEY_ID",
    );
    await assert.rejects(
      openImage(address),
      (error: Error) =>
        error.message.startsWith(
          "Cannot open s3://slides/a.svs as an image: ",
        ) &&
        !Deno.inspect(error).includes("wrong"),
    );
  });
  assert.equal(store.requests.length, 3); // none is repeated
  const odd = { ...AWS, ...endpoint, AWS_SECRET_ACCESS_KEY: "se cret" };
  await withVariables(odd, async () => {
    assert.match(await failure(address), /AWS_SECRET_ACCESS_KEY holds a space/);
  });
  const lined = {
    ...AWS,
    ...endpoint,
    AWS_SECRET_ACCESS_KEY: `${KEY.secret}\n`,
  };
  await withVariables(lined, async () => (await openUrl(address)).close());
});

Deno.test("an object of another region says which", async () => {
  const intercept = () => ({
    status: 301,
    headers: { "x-amz-bucket-region": "us-west-2" },
  });
  await using store = await privateStore({ intercept });
  await withVariables(
    { ...AWS, AWS_ENDPOINT_URL: store.endpoint },
    async () => {
      assert.match(
        await failure("s3://slides/a.svs"),
        /301 Moved Permanently: its bucket is in us-west-2; set AWS_REGION=us-west-2$/,
      );
    },
  );
});

Deno.test("bad answers to signed requests are those of a web server", async () => {
  const first = (answer: Answer) => {
    let requests = 0;
    return () => requests++ === 0 ? answer : undefined;
  };
  const opened = async (options: ServerOptions) => {
    await using store = await privateStore(options);
    const variables = { ...AWS, AWS_ENDPOINT_URL: store.endpoint };
    return await withVariables(variables, async () => {
      const source = await openUrl("s3://slides/a.svs", fast);
      const bytes = await source.read(100_000, 50);
      assert.deepEqual(bytes, file.subarray(100_000, 100_050));
      source.close();
      return store.requests.length;
    });
  };
  // Asked again, and signed again.
  assert.equal(await opened({ intercept: first({ status: 503 }) }), 3);
  for (const kind of ["cut", "short"] as const) {
    const trouble = (request: number) =>
      request === 2 ? { kind } as const : undefined;
    assert.equal(await opened({ trouble }), 3);
  }
  const bad: [ServerOptions, RegExp][] = [
    [{ intercept: () => ({ status: 404 }) }, /answered 404 Not Found$/],
    [{ intercept: () => ({ status: 416 }) }, /answered 416/],
    [
      {
        intercept: () => ({
          status: 416,
          headers: { "content-range": "bytes */0" },
        }),
      },
      /it is empty/,
    ],
    [{ changeAt: 2 }, /it changed on the server while open/],
  ];
  for (const [options, message] of bad) {
    await assert.rejects(opened(options), message);
  }
});

Deno.test("credentials never follow a redirect to another host", async () => {
  const seen: IncomingMessage[] = [];
  await using other = await serveFile(file, {
    intercept: (request) => void seen.push(request),
  });
  const to = (location: string) => ({ status: 307, headers: { location } });
  await using store = await privateStore({
    intercept: ({ url }) =>
      url === "/slides/away.svs"
        ? to(other.url)
        : url === "/slides/near.svs"
        ? to("/slides/here.svs")
        : url === "/slides/ever.svs"
        ? to("/slides/ever.svs")
        : undefined,
  });
  const variables = {
    ...AWS,
    AWS_ENDPOINT_URL: store.endpoint,
    AWS_SESSION_TOKEN: "token",
  };
  await withVariables(variables, async () => {
    const source = await openUrl("s3://slides/away.svs");
    assert.deepEqual(await source.read(9, 9), file.subarray(9, 18));
    source.close();
    assert.match(await failure("s3://slides/ever.svs"), /more than 5 times/);
  });
  assert.equal(seen.length, 1);
  const { headers } = seen[0]!;
  assert.equal(headers.range, "bytes=0-16383");
  assert.deepEqual(
    Object.keys(headers).filter((name) => /^x-amz|authorization/.test(name)),
    [],
  );
  await withVariables(
    { ...AWS, AWS_ENDPOINT_URL: store.endpoint },
    async () => {
      (await openUrl("s3://slides/near.svs")).close(); // signed for its new path
    },
  );
});

Deno.test("a private object of Google's is signed by an HMAC key or a token", async () => {
  const address = "gs://slides/a.svs";
  await using store = await privateStore({}, { ...KEY, region: "auto" });
  const hmac = {
    GS_ACCESS_KEY_ID: KEY.id,
    GS_SECRET_ACCESS_KEY: KEY.secret,
    STORAGE_EMULATOR_HOST: store.endpoint,
  };
  await withVariables(hmac, async () => (await openUrl(address)).close());
  await using bearer = await serveFile(file, {
    intercept: ({ headers }) =>
      headers.authorization === "Bearer ya29.x" ? undefined : { status: 401 },
  });
  const { host } = new URL(bearer.url);
  const token = {
    GOOGLE_OAUTH_ACCESS_TOKEN: "ya29.x",
    STORAGE_EMULATOR_HOST: host,
  };
  await withVariables(token, async () => (await openUrl(address)).close());
  await withVariables({ STORAGE_EMULATOR_HOST: host }, async () => {
    assert.match(
      await failure(address),
      /401 .*set GOOGLE_APPLICATION_CREDENTIALS, /,
    );
  });
});

Deno.test("a private object of Google's is signed by a file of credentials", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
  });
  const grants: URLSearchParams[] = [];
  let answer = () =>
    Response.json({ access_token: "ya29.y", expires_in: 3600 });
  await using tokens = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      grants.push(new URLSearchParams(await request.text()));
      return answer();
    },
  );
  await using store = await serveFile(file, {
    intercept: ({ headers }) =>
      headers.authorization === "Bearer ya29.y" ? undefined : { status: 401 },
  });
  const uri = `http://127.0.0.1:${tokens.addr.port}/token`;
  const account = {
    type: "service_account",
    client_email: "reader@project.iam.gserviceaccount.com",
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    token_uri: uri,
  };
  const user = {
    type: "authorized_user",
    client_id: "id",
    client_secret: "client secret",
    refresh_token: "refresh",
    token_uri: uri,
  };
  await withFolder(async (folder) => {
    let count = 0;
    const withFile = async (content: unknown, test: () => Promise<void>) => {
      const path = join(folder, `${count++}.json`); // a token is kept by file
      const text = typeof content === "string"
        ? content
        : JSON.stringify(content);
      if (content !== undefined) await Deno.writeTextFile(path, text);
      await withVariables({
        GOOGLE_APPLICATION_CREDENTIALS: path,
        STORAGE_EMULATOR_HOST: new URL(store.url).host,
      }, test);
    };
    const address = "gs://slides/a.svs";
    for (const credentials of [account, user]) {
      await withFile(credentials, async () => {
        const source = await openUrl(address);
        await source.read(50_000, 5);
        await source.read(90_000, 5);
        source.close();
      });
    }
    assert.equal(grants.length, 2); // once a file
    const [header, claims, signature] = grants[0]!.get("assertion")!.split(".");
    const signed = new TextEncoder().encode(`${header}.${claims}`);
    const bytes = Buffer.from(signature!, "base64url");
    assert.ok(verify("RSA-SHA256", signed, publicKey, bytes));
    const { iss, aud, scope, iat, exp } = JSON.parse(
      Buffer.from(claims!, "base64url").toString(),
    );
    assert.deepEqual([iss, aud, exp - iat], [account.client_email, uri, 600]);
    assert.match(scope, /devstorage\.read_only$/);
    assert.equal(grants[1]!.get("refresh_token"), "refresh");

    const bad: [unknown, RegExp][] = [
      [undefined, /there is no such file/],
      ["{", /it is not JSON/],
      ["null", /its type is neither/],
      [{ type: "external_account" }, /its type is neither/],
      [{ ...account, private_key: "a secret" }, /its private_key is none/],
      [{ ...user, token_uri: "http://example.org" }, /is not an https URL/],
    ];
    for (const [content, message] of bad) {
      await withFile(content, async () => {
        const said = await failure(address);
        assert.match(
          said,
          /^the file of GOOGLE_APPLICATION_CREDENTIALS is of no/,
        );
        assert.match(said, message);
        assert.doesNotMatch(said, /secret/);
      });
    }
    answer = () => Response.json({ error: "invalid_grant" }, { status: 400 });
    await withFile(user, async () => {
      assert.equal(
        await failure(address),
        "Google's token service answered 400 to the credentials of GOOGLE_APPLICATION_CREDENTIALS",
      );
    });
    answer = () => Response.json({});
    await withFile(user, async () => {
      assert.match(await failure(address), /answered without a token/);
    });
  });
});

Deno.test("a private blob of Azure's is signed by a key or a token", async () => {
  const address = "az://slides/a b.svs";
  const { account, key } = AZURE;
  await using store = await serveFile(file, {
    intercept: (request) =>
      request.headers.authorization === sharedKey(request, AZURE) ||
        request.url?.endsWith("?sv=1&sig=a%2Fb")
        ? undefined
        : { status: 403 },
  });
  const { origin } = new URL(store.url);
  const string =
    `AccountName=${account};BlobEndpoint=${origin}/${account};AccountKey=`;
  const connected = (key: string) => ({
    AZURE_STORAGE_CONNECTION_STRING: string + key,
  });
  await withVariables(connected(key), async () => {
    const source = await openUrl(address);
    assert.deepEqual(
      await source.read(90_000, 5),
      file.subarray(90_000, 90_005),
    );
    source.close();
  });
  await withVariables(connected("no base64!"), async () => {
    assert.match(await failure(address), /is not base64/);
  });
  const shared = {
    AZURE_STORAGE_CONNECTION_STRING:
      `AccountName=${account};BlobEndpoint=${origin}`,
    AZURE_STORAGE_SAS_TOKEN: "?sv=1&sig=a%2Fb",
  };
  await withVariables(shared, async () => {
    const source = await openUrl(address);
    assert.doesNotMatch(source.name + source.identity, /sig/);
    source.close();
  });
  await withVariables({}, async () => {
    await assert.rejects(openUrl(address), /set AZURE_STORAGE_ACCOUNT/);
  });
  await store[Symbol.asyncDispose](); // nobody listens
  await withVariables(shared, async () => {
    assert.doesNotMatch(await failure(address), /sig/);
  });
});

Deno.test("a server signs requests for objects of listed buckets only", async () => {
  const signed: (string | undefined)[] = [];
  await using store = await serveFile(file, {
    intercept: ({ headers }) => void signed.push(headers.authorization),
  });
  const { origin, host } = new URL(store.url);
  await withVariables({ ...AWS, AWS_ENDPOINT_URL: origin }, async () => {
    const open = async (address: string, hosts: string[]) => {
      const sources = await Sources.open({ roots: [], hosts });
      const source = await sources.uri(address);
      assert.ok("url" in source);
      (await openUrl(source.url, { fetch: guardedFetch(hosts) })).close();
      (await openUrl(address, { fetch: guardedFetch(hosts) })).close(); // a table's
    };
    await open("s3://slides/a.svs", ["s3://slides"]);
    assert.equal(signed.filter(Boolean).length, 2);
    const refused = /is not an allowed host/;
    for (
      const address of [
        "s3://other/a.svs",
        "s3://slides-2/a.svs",
        "gs://slides/a.svs",
        `${origin}/other/a.svs`,
        `${origin}/slides/../other/a.svs`,
      ]
    ) {
      await assert.rejects(open(address, ["s3://slides"]), refused, address);
      await assert.rejects(
        openUrl(address, { fetch: guardedFetch(["s3://slides"]) }),
        refused,
        address,
      );
    }
    // A host alone allows no credentials.
    await open("s3://other/a.svs", ["s3://slides", host]);
    await open("s3://slides/a.svs", [host]);
    assert.equal(signed.filter(Boolean).length, 2);
    assert.equal(signed.length, 6);
  });
});

Deno.test("a server's redirects lead to no other bucket", async () => {
  await using store = await privateStore({
    intercept: ({ url }) =>
      url === "/slides/a.svs"
        ? { status: 302, headers: { location: "/other/a.svs" } }
        : undefined,
  });
  await withVariables(
    { ...AWS, AWS_ENDPOINT_URL: store.endpoint },
    async () => {
      await assert.rejects(
        openUrl("s3://slides/a.svs", { fetch: guardedFetch(["s3://slides"]) }),
        /is not an allowed host/,
      );
    },
  );
  assert.equal(store.requests.length, 1);
});
