/**
 * Real NATS servers on ports that the system gives, alone or as a cluster.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { jetstreamManager } from "@nats-io/jetstream";
import { eventually, within } from "../../../waiting.ts";

const FOLDERS = [
  ...(Deno.env.get("PATH") ?? "").split(delimiter),
  ...["/usr/sbin", "/usr/local/sbin"], // not in every user's PATH
];

/** Path of nats-server; undefined if it is not installed. */
export const NATS_SERVER: string | undefined = FOLDERS
  .map((folder) => join(folder, "nats-server"))
  .find((path) => existsSync(path));

/** A node of a cluster, or a server alone. */
export interface NatsNode {
  url: string;
  /** Ends it as a power cut does. */
  kill(): Promise<void>;
  /** Starts it again, with what it had kept. */
  start(): Promise<void>;
}

/** Servers that know of each other. */
export interface NatsServers extends AsyncDisposable {
  /** All addresses, as --jobs takes them. */
  url: string;
  nodes: readonly NatsNode[];
}

/** Starts a server, or a cluster of `size` nodes, and waits until they serve. */
export async function startNats(
  size = 1,
  flags: readonly string[] = [],
): Promise<NatsServers> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-nats-" });
  const routes = freePorts(size).map((port) => `nats://127.0.0.1:${port}`);
  const ports = freePorts(size);
  const nodes = ports.map((port, i) =>
    new Server([
      ...["--addr", "127.0.0.1", "--port", String(port), "--jetstream"],
      ...["--store_dir", join(folder, String(i))],
      ...(size === 1 ? [] : [
        ...["--name", `node-${i}`, "--cluster_name", "zoomin"],
        ...["--cluster", routes[i]!, "--routes", routes.join(",")],
      ]),
      ...flags,
    ], port)
  );
  await Promise.all(nodes.map((node) => node.start()));
  const url = `nats://${ports.map((port) => `127.0.0.1:${port}`).join(",")}`;
  if (size > 1) await untilLed(nodes.map(({ url }) => url), size);
  return {
    url,
    nodes,
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node.kill()));
      await Deno.remove(folder, { recursive: true });
    },
  };
}

class Server implements NatsNode {
  readonly url: string;
  readonly #args: readonly string[];
  readonly #port: number;
  #process: Deno.ChildProcess | undefined;

  constructor(args: readonly string[], port: number) {
    this.#args = args;
    this.#port = port;
    this.url = `nats://127.0.0.1:${port}`;
  }

  async start(): Promise<void> {
    this.#process = new Deno.Command(NATS_SERVER!, {
      args: [...this.#args],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await eventually("nats-server listens", async () => {
      const connection = await Deno.connect({ port: this.#port })
        .catch(() => undefined);
      connection?.close();
      return connection !== undefined;
    });
  }

  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process === undefined) return;
    process.kill("SIGKILL");
    await within("nats-server ends", process.status);
  }
}

/** Waits until a cluster can keep `size` copies. */
async function untilLed(servers: string[], size: number): Promise<void> {
  const connection = await connect({ servers, maxReconnectAttempts: -1 });
  try {
    await eventually("the cluster has a leader", async () => {
      try {
        const jsm = await jetstreamManager(connection);
        await jsm.streams.add({
          name: "probe",
          subjects: ["probe"],
          num_replicas: size,
        });
        return await jsm.streams.delete("probe");
      } catch {
        return false;
      }
    });
  } finally {
    await connection.close();
  }
}

/** Ports that nothing listens on, all different. */
function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  return listeners.map((listener) => {
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    return port;
  });
}
