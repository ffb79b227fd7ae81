/**
 * Signed requests to stores that others wrote: moto, which checks Amazon's
 * signatures by Amazon's library, and Azurite, Microsoft's own emulator of its
 * storage. They are fetched (Azurite's 361 MB), so these tests run in the gate
 * only.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { openUrl } from "../../../lib/image/bytes/http.ts";
import { withFolder } from "../../data/folder.ts";
import { output, programsOf, PYTHON_REQUIRED } from "../../python.ts";
import { sharedKey, withVariables } from "./cloud_requests.ts";

const ofOthers = { ignore: !PYTHON_REQUIRED }; // needs ZOOMIN_REQUIRE_CLIENTS=1
const file = new Uint8Array(randomBytes(200_000));
const KEY = "a b/slide+1 (é).svs";

/** Runs a store until `test` ends, which gets the line that tells its port. */
async function withStore(
  command: string,
  args: string[],
  test: (origin: string, line: string) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const process = new Deno.Command(command, {
    args,
    env,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  try {
    const lines = createInterface(Readable.fromWeb(process.stdout));
    const line = await new Promise<string>((found, fail) => {
      lines.on("line", (line) => {
        if (PORT.test(line)) found(line);
      });
      lines.on("close", () => fail(new Error(`${command} has ended`)));
    });
    await test(`http://127.0.0.1:${PORT.exec(line)![1]}`, line);
  } finally {
    await process.stdin.close();
    process.kill();
    await process.status;
  }
}

const PORT = /listens.*127\.0\.0\.1:(\d+)/;

/** Reads the head and the middle of what was put there. */
async function assertRead(address: string): Promise<void> {
  const source = await openUrl(address, { attempts: 1 });
  assert.equal(source.size, file.length);
  for (const [offset, length] of [[0, 100], [90_000, 5000]] as const) {
    const bytes = await source.read(offset, length);
    assert.deepEqual(bytes, file.subarray(offset, offset + length));
  }
  assert.deepEqual(source.traffic, { bytes: 2 ** 14 + 5000, requests: 2 });
  source.close();
}

const ENCODED = KEY.split("/").map(encodeURIComponent).join("/");

// Makes a user with a key, an object, and then demands signatures.
const MOTO = `
import boto3, json, sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
url = "http://127.0.0.1:%d" % server.get_host_and_port()[1]
own = dict(endpoint_url=url, region_name="eu-central-1",
           aws_access_key_id="a", aws_secret_access_key="b")
iam = boto3.client("iam", **own)
iam.create_user(UserName="reader")
allowed = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy)
key = iam.create_access_key(UserName="reader")["AccessKey"]
s3 = boto3.client("s3", **own)
place = {"LocationConstraint": "eu-central-1"}
s3.create_bucket(Bucket="slides", CreateBucketConfiguration=place)
s3.put_object(Bucket="slides", Key="a b/slide.svs", Body=open(sys.argv[1], "rb"))
urllib.request.urlopen(urllib.request.Request(url + "/moto-api/reset-auth",
    data=b"0", headers={"content-type": "text/plain"}))
print(json.dumps({"listens": url, "id": key["AccessKeyId"],
                  "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
`;

Deno.test("moto: signed requests are read, others not", ofOthers, async () => {
  const programs = await programsOf("moto[iam,s3,server]==5.2.5");
  await withFolder(async (folder) => {
    const path = join(folder, "slide.svs");
    await Deno.writeFile(path, file);
    const python = join(programs, "python");
    await withStore(python, ["-c", MOTO, path], async (origin, line) => {
      const { id, secret } = JSON.parse(line);
      const variables = {
        AWS_ENDPOINT_URL: origin,
        AWS_REGION: "eu-central-1",
        AWS_ACCESS_KEY_ID: id,
        AWS_SECRET_ACCESS_KEY: secret,
      };
      const address = "s3://slides/a b/slide.svs";
      await withVariables(variables, async () => {
        await assertRead(address);
        await assert.rejects(openUrl("s3://slides/none"), /404 Not Found$/i);
      });
      const wrong = { ...variables, AWS_SECRET_ACCESS_KEY: "wrong" };
      await withVariables(wrong, async () => {
        await assert.rejects(openUrl(address), /403 .* of AWS_ACCESS_KEY_ID$/);
      });
    });
  });
});

Deno.test(
  "Azurite: signed requests are read, others not",
  ofOthers,
  async () => {
    const account = "zoomin";
    const key = new Uint8Array(randomBytes(64)).toBase64();
    const test = async (origin: string) => {
      const put = async (path: string, body: Uint8Array<ArrayBuffer>) => {
        const url = new URL(`${origin}/${account}/slides${path}`);
        const headers: Record<string, string> = {
          "content-type": "application/octet-stream",
          "content-length": String(body.length),
          "x-ms-blob-type": "BlockBlob",
          "x-ms-date": new Date().toUTCString(),
          "x-ms-version": "2021-08-06",
        };
        const signed = {
          method: "PUT",
          url: url.pathname + url.search,
          headers,
        };
        headers.authorization = sharedKey(signed, { account, key });
        const answer = await fetch(url, { method: "PUT", headers, body });
        assert.equal(answer.status, 201, await answer.text());
      };
      await put("?restype=container", new Uint8Array(0));
      await put(`/${ENCODED}`, file);
      const variablesOf = (key: string) => ({
        AZURE_STORAGE_CONNECTION_STRING:
          `AccountName=${account};AccountKey=${key};BlobEndpoint=${origin}/${account}`,
      });
      const address = `az://slides/${KEY}`;
      await withVariables(variablesOf(key), async () => {
        await assertRead(address);
        await assert.rejects(openUrl("az://slides/none"), /404/);
      });
      await withVariables(variablesOf("d3Jvbmc="), async () => {
        await assert.rejects(openUrl(address), /403 .* of AZURE_STORAGE_KEY$/);
      });
    };
    // npx itself would leave the store running when it is told to end.
    const find = [
      "-y",
      "-p",
      "azurite@3.37.0",
      "-c",
      "command -v azurite-blob",
    ];
    const program = (await output("npx", find)).trim();
    const args = ["--blobPort", "0", "--inMemoryPersistence"];
    const env = { AZURITE_ACCOUNTS: `${account}:${key}` };
    await withStore(program, args, test, env);
  },
);
