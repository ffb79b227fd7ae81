/**
 * What `nsc` makes for an installation: an operator, an account with JetStream,
 * and users of it, whose credentials are files.
 *
 * @module
 */
import { nkeys } from "@nats-io/transport-node";
import { Buffer } from "node:buffer";
import { join } from "node:path";

type KeyPair = ReturnType<typeof nkeys.createUser>;

// Limits of accounts, and those of accounts with JetStream.
const LIMITS = [
  "subs",
  "data",
  "payload",
  "imports",
  "exports",
  "conn",
  "leaf",
];
const JETSTREAM = ["mem_storage", "disk_storage", "streams", "consumer"];

/** A trust chain; its files are in `folder`. */
export class Operator {
  readonly #folder: string;
  readonly #keys = nkeys.createOperator();
  readonly #system = nkeys.createAccount();
  readonly #account = nkeys.createAccount();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes a configuration of nats-server that trusts it, and returns the path. */
  async configuration(): Promise<string> {
    const operator = token(this.#keys, this.#keys, { type: "operator" });
    const path = join(this.#folder, "nats.conf");
    await Deno.writeTextFile(
      path,
      `operator: ${operator}
resolver: MEMORY
resolver_preload: {
  ${this.#system.getPublicKey()}: ${this.#tokenOf(this.#system, [])}
  ${this.#account.getPublicKey()}: ${this.#tokenOf(this.#account, JETSTREAM)}
}
system_account: ${this.#system.getPublicKey()}
`,
    );
    return path;
  }

  /** Writes the credentials of a new user of the account; returns the path. */
  async credentials(name: string): Promise<string> {
    const user = nkeys.createUser();
    const unlimited = { subs: -1, data: -1, payload: -1 };
    const claims = { type: "user", pub: {}, sub: {}, ...unlimited };
    const path = join(this.#folder, `${name}.creds`);
    await Deno.writeTextFile(
      path,
      `-----BEGIN NATS USER JWT-----
${token(this.#account, user, claims)}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${new TextDecoder().decode(user.getSeed())}
------END USER NKEY SEED------
`,
    );
    return path;
  }

  /** The token of an account without bounds. */
  #tokenOf(account: KeyPair, more: readonly string[]): string {
    const unlimited = [...LIMITS, ...more].map((limit) => [limit, -1]);
    return token(this.#keys, account, {
      type: "account",
      limits: { ...Object.fromEntries(unlimited), wildcards: true },
    });
  }
}

/** A JSON Web Token of NATS: claims about `subject`, signed by `issuer`. */
function token(issuer: KeyPair, subject: KeyPair, nats: object): string {
  const text = [
    { typ: "JWT", alg: "ed25519-nkey" },
    {
      jti: crypto.randomUUID(),
      iat: Math.floor(Date.now() / 1000),
      iss: issuer.getPublicKey(),
      sub: subject.getPublicKey(),
      name: "zoomin",
      nats: { ...nats, version: 2 },
    },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const signature = Buffer.from(issuer.sign(Buffer.from(text)));
  return `${text}.${signature.toString("base64url")}`;
}
