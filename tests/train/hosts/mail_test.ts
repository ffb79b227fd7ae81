import assert from "node:assert/strict";
import { connectNats } from "../../../lib/serve/jobs/nats/connection.ts";
import { Mail } from "../../../lib/train/hosts/mail.ts";
import { NATS_SERVER, startNats } from "../../serve/jobs/nats/nats_server.ts";
import { eventually } from "../../waiting.ts";

Deno.test({
  name: "values larger than a message come whole, of each sender in order",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats();
    const { connection } = await connectNats(servers);
    const mail = new Mail(connection);
    const large = Float32Array.from({ length: 800_000 }, (_, i) => 1 / i);
    large.set([-0, NaN, Infinity]);
    const heard: [unknown, string][] = [];
    mail.hear("test.*", (value, subject) => heard.push([value, subject]));
    const values = [large, "short", new Map([["w", large.subarray(0, 3)]])];
    for (const value of values) {
      mail.send("test.one", value);
      mail.send("test.two", value);
    }
    await eventually("all have come", () => heard.length === 6);
    for (const sender of ["test.one", "test.two"]) {
      const own = heard.filter(([, subject]) => subject === sender);
      assert.deepEqual(own.map(([value]) => value), values);
      assert.ok(Object.is((own[0]![0] as Float32Array)[0], -0));
    }
    await connection.close();
  },
});

Deno.test({
  name: "parts that are lost, and what is no value, are nothing",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats();
    const { connection } = await connectNats(servers);
    const mail = new Mail(connection);
    const heard: unknown[] = [];
    mail.hear("test", (value) => heard.push(value));
    mail.hearAnnounced("test", (value) => heard.push(value));
    const part = (number: number, place: number, count: number) =>
      new Uint8Array(
        new Uint32Array([number, place, count].map(bigEndian)).buffer,
      );
    for (
      const bytes of [
        new Uint8Array(3),
        part(1, 0, 2), // its second part never comes
        part(2, 1, 2), // its first part never came
        part(3, 0, 1), // no value
        part(4, 0, 2 ** 32 - 1), // larger than any
      ]
    ) connection.publish("test", bytes);
    mail.send("test", "last");
    await eventually("the last has come", () => heard.length > 0);
    assert.deepEqual(heard, ["last"]);
    await connection.close();
  },
});

function bigEndian(word: number): number {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setUint32(0, word);
  return new Uint32Array(bytes.buffer)[0]!;
}
